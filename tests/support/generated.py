"""What the code writes into the documentation: two pages, and what stands at markers in others.

`make docs` writes them, a test compares them.
"""

from collections.abc import Callable, Mapping
from itertools import dropwhile
from typing import Final

from landline.client import chat, dialing, link, marks, outbox, reading, reconnecting, repeats
from landline.config.page import page as configuration
from landline.protocol import limits
from landline.protocol.codes import CloseCode, ErrorCode
from simulation.page import page as mutants
from support import bounds, interface
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

CLIENT_LIMITS = f"""\
| `content` | {limits.CONTENT_BYTES:,} bytes of UTF-8 |
| sends without an answer at the server | {repeats.IN_FLIGHT}, and \
{repeats.IN_FLIGHT_BYTES // 1024} KiB; more wait in the client's memory |
| questions without an answer at the server | {reading.QUESTIONS_IN_FLIGHT}; more wait likewise |
| conversations whose marks are on their way | {marks.MARKS_IN_FLIGHT}; more wait likewise |
| messages not handed out yet | {limits.WINDOW} (the server's window) |
| ids remembered against repeats | {outbox.HANDED_IDS:,} |
| first connection | {chat.CONNECT_TIMEOUT_SECONDS:g} s |
| answer to a send, or to any question | {link.ANSWER_SECONDS:g} s, then a new connection |
| time between tries of a mark | {marks.MARK_AGAIN_SECONDS:g} s |
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
        "limits that can be set": bounds.SHARES,
        "limits": bounds.ALWAYS,
    },
    "docs/http.md": {
        "fields of an error": interface.error_fields(),
        "error codes": interface.error_codes(),
    },
    "docs/client.md": {"limits": CLIENT_LIMITS},
    "docs/security.md": {"controls": controls()},
}

# Page -> what the two markers say -> what stands between them.
SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "docs/http.md": {"requests": interface.requests()},
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
    for what, section in SECTIONS.get(name, {}).items():
        begin, end = (f"<!-- {each} the code: {what} -->\n" for each in ("from", "end of"))
        before, found, after = page.partition(begin)
        _, found_end, after = after.partition(end)
        assert found, f"{name} has no {begin}"
        assert found_end, f"{name} has no {end}"
        page = f"{before}{begin}\n{section}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    for name in NAMES:
        (ROOT / name).write_text(text(name), encoding="utf-8")
