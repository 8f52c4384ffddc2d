"""The limits that docs/protocol.md has in tables: written from the code that has them."""

from typing import Final

from landline.app.front import RESERVED_FILES
from landline.auth.tokens import TOKEN_BYTES
from landline.config import Settings
from landline.config.limits import (
    BYTES_BURST,
    FRAMES_BURST,
    HANDSHAKES_BURST,
    KIB,
    MESSAGES_BURST,
    USUAL_LIMITS,
)
from landline.delivery.delivery import WRITE_TIMEOUT_SECONDS
from landline.delivery.intake import SESSION_FLIGHT_BYTES, SESSION_FLIGHTS
from landline.gateway.asgi import IDLE_SECONDS
from landline.gateway.fragments import FRAGMENTS
from landline.gateway.heartbeat import PING_AFTER_SECONDS, PONG_WITHIN_SECONDS
from landline.gateway.http_connection import (
    BODY_SECONDS,
    EARLY_BYTES,
    HANDSHAKE_SECONDS,
    TURN_SECONDS,
)
from landline.gateway.http_request import BODY_BYTES, HEAD_BYTES, HEADERS
from landline.gateway.lobby import FULL_RETRY_MS
from landline.gateway.marks import MARK_SECONDS
from landline.gateway.posts import POST_SECONDS
from landline.gateway.reading import WAITING_QUESTIONS
from landline.gateway.sign_in import SIGN_IN_BYTES, SIGN_IN_SECONDS
from landline.protocol import limits
from landline.protocol.codes import CloseCode, ErrorCode

_USUAL: Final = USUAL_LIMITS
_BUSY: Final = "over HTTP 429, with `Retry-After`"
_FULL: Final = f"429 with `Retry-After: {FULL_RETRY_MS // 1000}`"

# What can be set: what, how much, at once, beyond it, option.
SHARES: Final = f"""\
| messages of a user | {_USUAL.messages:g} a second | {_USUAL.messages * MESSAGES_BURST:g} \
| `{ErrorCode.TOO_FAST}` with `retry_after_ms`; {_BUSY} | `--limit-messages` |
| bytes of `content` of a user | {_USUAL.bytes / KIB:g} KiB a second \
| {_USUAL.bytes * BYTES_BURST / KIB**2:g} MiB | the same | `--limit-bytes` |
| frames of a session, of any kind | {_USUAL.frames:g} a second \
| {_USUAL.frames * FRAMES_BURST:g} | they wait, 0.1 s at a time or until one may come, \
and the connection is not read. None is dropped \
| `--limit-frames` |
| connections of a user | {_USUAL.user_connections} | | {_FULL}; when the token came in the first \
frame {CloseCode.OVERLOADED} with `retry_after_ms={FULL_RETRY_MS}` | `--limit-user-connections` |
| connections of an address | {_USUAL.address_connections} | | {_FULL}. Sockets that have not said \
what they want are counted apart: three times as many, then they are cut \
| `--limit-address-connections` |
| upgrade requests of an address, and requests below `/v1/` that are refused with \
400, 401 or 403 | {_USUAL.handshakes:g} a second \
| {_USUAL.handshakes * HANDSHAKES_BURST:g} | 429 with `Retry-After` | `--limit-handshakes` |"""

# What is always so.
ALWAYS: Final = f"""\
| frame | {limits.FRAME_BYTES:,} bytes, all fragments together | {CloseCode.TOO_LARGE} |
| fragments of a frame | {FRAGMENTS} | {CloseCode.TOO_LARGE} |
| `content` | {limits.CONTENT_BYTES:,} bytes of UTF-8 | `{ErrorCode.CONTENT_TOO_LARGE}`. Escapes \
count for the frame: content that needs more than a frame as JSON cannot be sent |
| `data` | {limits.DATA_BYTES:,} bytes as JSON | `{ErrorCode.CONTENT_TOO_LARGE}` |
| user name | {limits.NAME_BYTES} bytes | 400, `{ErrorCode.BAD_RECIPIENT}` |
| `ref` | {limits.REF_BYTES} bytes | `{ErrorCode.BAD_REF}` |
| `ids` in one `ack` | {limits.ACK_IDS} | `{ErrorCode.BAD_FRAME}` |
| nesting of JSON | {limits.JSON_DEPTH} levels | `{ErrorCode.BAD_FRAME}` |
| unacknowledged messages of a session | {limits.WINDOW} | the rest waits in the store |
| unanswered sends of a session | {SESSION_FLIGHTS} | the connection is not read |
| bytes of a session's unanswered sends | {SESSION_FLIGHT_BYTES:,} | the connection is not read |
| bytes beside the fields of this page | {limits.UNKNOWN_BYTES:,} | `{ErrorCode.BAD_FRAME}` |
| bad frames in a row | {limits.BAD_FRAMES_IN_A_ROW} | {CloseCode.POLICY} |
| no acknowledgement while messages are outstanding | {Settings().ack_timeout:g} s \
(`--ack-timeout`) | {CloseCode.NO_PROGRESS} |
| no bytes read by the client while some wait | {WRITE_TIMEOUT_SECONDS:g} s \
| {CloseCode.NO_PROGRESS} |
| silence of a session | a ping after {PING_AFTER_SECONDS:g} s; {PONG_WITHIN_SECONDS:g} s for its \
pong | cut |
| a request with its headers | {HANDSHAKE_SECONDS:g} s | 408; a socket that says nothing is cut |
| the same, in size | {HEAD_BYTES // KIB} KiB, {HEADERS} headers | 431 |
| handshake of TLS | {HANDSHAKE_SECONDS:g} s | cut |
| frames before the answer to the upgrade | {EARLY_BYTES // KIB} KiB | 400 |
| a session whose token is to come | {SIGN_IN_SECONDS:g} s | {CloseCode.NOT_AUTHENTICATED} |
| the same, in size | {SIGN_IN_BYTES // KIB} KiB | {CloseCode.TOO_LARGE} |
| token | {TOKEN_BYTES:,} bytes | as a bad token |
| body of a request | {BODY_SECONDS:g} s, {BODY_BYTES // KIB} KiB | 408, 413 |
| a request that waits behind others | {TURN_SECONDS:g} s | 429, `{ErrorCode.BUSY}` |
| answer to a message by request | {POST_SECONDS:g} s | 503, `{ErrorCode.UNAVAILABLE}` |
| the same, to a read mark | {MARK_SECONDS:g} s | 503, `{ErrorCode.UNAVAILABLE}` |
| questions of a session, or by request of a user, that wait | {WAITING_QUESTIONS} \
| `{ErrorCode.BUSY}` |
| an HTTP connection without a request | {IDLE_SECONDS:g} s | closed |
| open files of the server | all but {RESERVED_FILES} are for connections | 503 |"""
