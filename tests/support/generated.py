"""What the code writes into the documentation: two pages, and tables between markers in others.

`make docs` writes them, a test compares them.
"""

from collections.abc import Callable, Mapping
from itertools import dropwhile
from typing import Final

from landline.client import chat, dialing, link, outbox, reconnecting, repeats
from landline.config import Settings
from landline.config.page import page as configuration
from landline.delivery.delivery import WRITE_TIMEOUT_SECONDS
from landline.delivery.intake import SESSION_FLIGHT_BYTES, SESSION_FLIGHTS
from landline.gateway.fragments import FRAGMENTS
from landline.gateway.heartbeat import PING_AFTER_SECONDS, PONG_WITHIN_SECONDS
from landline.gateway.http_connection import HANDSHAKE_SECONDS
from landline.protocol import limits
from landline.protocol.codes import CloseCode, ErrorCode
from simulation.page import page as mutants
from support.pages import ROOT, read
from support.security import table_rows as controls

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "docs/configuration.md": configuration,
    "docs/mutants.md": mutants,
}

ERROR_CODES = "\n".join(f"| `{code}` | {code.means} | {code.advice} |" for code in ErrorCode)

CLOSE_CODES = "\n".join(f"| {code} | {code.means} | {code.advice} |" for code in CloseCode)
CLOSE_CODES += """
| none (1006) | the connection was cut: network, `kill -9`, no pong | yes, with backoff |"""

PROTOCOL_LIMITS = f"""\
| frame | {limits.FRAME_BYTES:,} bytes, all fragments together | {CloseCode.TOO_LARGE} |
| fragments of a frame | {FRAGMENTS} | {CloseCode.TOO_LARGE} |
| `content` | {limits.CONTENT_BYTES:,} bytes of UTF-8 | `{ErrorCode.CONTENT_TOO_LARGE}`. Escapes \
count for the frame: content that needs more than a frame as JSON cannot be sent |
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
| silence | a ping after {PING_AFTER_SECONDS:g} s; {PONG_WITHIN_SECONDS:g} s for its pong | cut |
| upgrade | {HANDSHAKE_SECONDS:g} s | cut |"""

CLIENT_LIMITS = f"""\
| `content` | {limits.CONTENT_BYTES:,} bytes of UTF-8 |
| sends without an answer at the server | {repeats.IN_FLIGHT}; more wait in the client's memory |
| messages not handed out yet | {limits.WINDOW} (the server's window) |
| ids remembered against repeats | {outbox.HANDED_IDS:,} |
| first connection | {chat.CONNECT_TIMEOUT_SECONDS:g} s |
| answer to a send | {link.ANSWER_SECONDS:g} s, then a new connection |
| time between tries to connect | {reconnecting.LAST_SECONDS:g} s \
({reconnecting.LAST_SECONDS_HERE:g} s where nothing listens on this machine), \
or the time that a server asks for, up to a minute |
| time between tries of a send that the server could not take | {repeats.LAST_REPEAT_SECONDS:g} s |
| a frame of the server | {dialing.MOST_FRAME_BYTES // 1024**2} MiB |"""

# Page -> what the marker says -> the rows of the table below it.
TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "docs/protocol.md": {
        "error codes": ERROR_CODES,
        "close codes": CLOSE_CODES,
        "limits": PROTOCOL_LIMITS,
    },
    "docs/client.md": {"limits": CLIENT_LIMITS},
    "docs/security.md": {"controls": controls()},
}

NAMES: Final = (*PAGES, *TABLES)


def text(name: str) -> str:
    """Return what a page should be: all of it is written, or the rows of its tables are."""
    if name in PAGES:
        return PAGES[name]()
    page = read(name)
    for what, rows in TABLES[name].items():
        marker = f"<!-- rows from the code: {what} -->\n"
        before, found, after = page.partition(marker)
        assert found, f"{name} has no {marker}"
        head, rule, *lines = after.splitlines(keepends=True)
        rest = dropwhile(lambda line: line.startswith("|"), lines)
        page = "".join([before, marker, head, rule, rows, "\n", *rest])
    return page


if __name__ == "__main__":
    for name in NAMES:
        (ROOT / name).write_text(text(name), encoding="utf-8")
