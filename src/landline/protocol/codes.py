"""Error and close codes: one table each, and what a client should do about them."""

from enum import IntEnum, StrEnum
from typing import Self

from landline.protocol.limits import BAD_FRAMES_IN_A_ROW, CONTENT_BYTES, DATA_BYTES, FRAME_BYTES

# An upgrade that is refused for good says so in this header. Only Landline sets it, so that a
# client can tell its answer from a passing one of a proxy with the same status.
FINAL_REFUSAL = ("Landline-Refused", "final")
FINAL_STATUSES = frozenset({400, 401, 403})


# The protocol has this code and this version does not send it: clients that know it are ready for a
# version that does.
_RESERVED = "(reserved: this version does not send it)"
_AGAIN_UNTIL_FIXED = "with backoff; it happens again until the client is fixed"


class ErrorCode(StrEnum):
    """Codes of `error` frames: what each means, and what a client should do about it."""

    means: str
    advice: str

    def __new__(cls, code: str, means: str, advice: str) -> Self:
        """The words are those of docs/protocol.md: `make docs` writes them there."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.means, member.advice = means, advice
        return member

    BAD_FRAME = (
        "bad_frame",
        "no frame of this protocol, or a field has the wrong type",
        "fix the client; do not repeat",
    )
    UNKNOWN_TYPE = "unknown_type", "a `type` that this server does not know", "do not repeat"
    BAD_RECIPIENT = "bad_recipient", "`to` is no user name", "do not repeat"
    BAD_REF = (
        "bad_ref",
        "`ref` is empty, too long, has a NUL, or is missing over HTTP",
        "do not repeat",
    )
    CONTENT_EMPTY = "content_empty", "`content` has no bytes", "do not repeat"
    CONTENT_TOO_LARGE = (
        "content_too_large",
        f"`content` has more than {CONTENT_BYTES:,} bytes, or `data` more than {DATA_BYTES:,}",
        "do not repeat; split it",
    )
    BUSY = (
        "busy",
        "refused before the log: the server is overloaded, has no disk space, or restarts",
        "send again in a moment",
    )
    UNAVAILABLE = (
        "unavailable",
        "`unknown`: the log or the store did not answer",
        "repeat with the same `ref` and `retry: true`",
    )
    TOO_FAST = (
        "too_fast",
        "more than a user may send ([limits](#limits)); refused before the log",
        "send again after `retry_after_ms`",
    )
    FORBIDDEN = (
        "forbidden",
        "this user may not do that, or a fresh token is not taken; a send is not in the log",
        "do not repeat; with `unknown` see [sending](#sending-without-losing)",
    )
    NO_SUCH_CONVERSATION = (
        "no_such_conversation",
        "there is no such conversation, or this user is not in it: nobody is told which",
        "do not repeat",
    )
    ROOM_FULL = "room_full", "the room has as many members as one may have", "do not repeat"


class Outcome(StrEnum):
    """What became of a send that got an error. Absent when no send is concerned."""

    REJECTED = "rejected"  # certainly not in the log, and never will be
    UNKNOWN = "unknown"  # may be in the log: repeat with the same ref and `retry: true`


class CloseCode(IntEnum):
    """WebSocket close codes: what each means, and whether to connect again. None of them stands
    for the fate of a message.
    """

    means: str
    advice: str

    def __new__(cls, code: int, means: str, advice: str) -> Self:
        """As for `ErrorCode`."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.means, member.advice = means, advice
        return member

    GOING_AWAY = 1001, f"going away {_RESERVED}", "yes"
    PROTOCOL_ERROR = (
        1002,
        "an error in the WebSocket protocol: reserved bits, fragments out of order",
        _AGAIN_UNTIL_FIXED,
    )
    UNSUPPORTED = 1003, "a binary frame", "no: fix the client"
    INVALID_TEXT = 1007, "text that is not UTF-8", _AGAIN_UNTIL_FIXED
    POLICY = 1008, f"{BAD_FRAMES_IN_A_ROW} bad frames in a row", "no: fix the client"
    TOO_LARGE = (
        1009,
        f"a frame of more than {FRAME_BYTES:,} bytes, or in too many fragments",
        "yes, but never send that frame again",
    )
    INTERNAL = 1011, "internal error", "yes, with backoff"
    RESTARTING = (
        1012,
        "the server restarts; the reason says `retry_after_ms=N`",
        "yes, after N ms",
    )
    OVERLOADED = (
        1013,
        "more connections than a user may have, or tokens cannot be checked now",
        "yes, after some seconds, or the `retry_after_ms=N` of the reason",
    )
    NOT_AUTHENTICATED = (
        4401,
        "no token in time, one that is not taken, or one that has expired",
        "with a fresh token ([signing in](#signing-in))",
    )
    FORBIDDEN = 4403, "closed by an administrator", "no, unless a person says so"
    NO_PROGRESS = 4408, "no acknowledgement, or no bytes read, in time", "yes; acknowledge faster"
