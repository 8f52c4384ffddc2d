"""Error and close codes: one table each, and what a client should do about them."""

from enum import IntEnum, StrEnum

# An upgrade that is refused for good says so in this header. Only Landline sets it, so that a
# client can tell its answer from a passing one of a proxy with the same status.
FINAL_REFUSAL = ("Landline-Refused", "final")
FINAL_STATUSES = frozenset({400, 401, 403})


class ErrorCode(StrEnum):
    """Codes of `error` frames."""

    BAD_FRAME = "bad_frame"  # not a frame of this protocol: mend the client
    UNKNOWN_TYPE = "unknown_type"  # a type that this server does not know
    BAD_RECIPIENT = "bad_recipient"  # `to` is no user name
    BAD_REF = "bad_ref"  # `ref` is empty, too long, or has forbidden characters
    CONTENT_EMPTY = "content_empty"
    CONTENT_TOO_LARGE = "content_too_large"
    BUSY = "busy"  # refused before the log: send again in a moment
    UNAVAILABLE = "unavailable"  # nobody knows: repeat with the same ref and retry
    TOO_FAST = "too_fast"  # refused before the log: slow down


class Outcome(StrEnum):
    """What became of a send that got an error. Absent when no send is concerned."""

    REJECTED = "rejected"  # certainly not in the log, and never will be
    UNKNOWN = "unknown"  # may be in the log: repeat with the same ref and `retry: true`


class CloseCode(IntEnum):
    """WebSocket close codes. None of them stands for the fate of a message."""

    GOING_AWAY = 1001  # reconnect
    PROTOCOL_ERROR = 1002  # the WebSocket protocol was broken: mend the client
    UNSUPPORTED = 1003  # binary frame: mend the client
    INVALID_TEXT = 1007  # text that is not UTF-8: mend the client
    POLICY = 1008  # the protocol was broken repeatedly: do not reconnect by itself
    TOO_LARGE = 1009  # do not send that frame again
    INTERNAL = 1011  # reconnect with backoff
    RESTARTING = 1012  # reconnect after `retry_after_ms=N` of the reason
    OVERLOADED = 1013  # reconnect, later
    NOT_AUTHENTICATED = 4401  # reconnect with a valid token
    NO_PROGRESS = 4408  # neither ack nor write progress in time: reconnect
