"""What the code writes into the pages is there, and numbers in their text are those of the code."""

import re
from collections.abc import Collection

import pytest

from landline.client import chat, link, outbox, reconnecting, repeats
from landline.config import Settings
from landline.config.page import page as configuration
from landline.config.settings import OPTIONS
from landline.delivery.intake import SESSION_FLIGHT_BYTES, SESSION_FLIGHTS
from landline.gateway.heartbeat import PING_AFTER_SECONDS, PONG_WITHIN_SECONDS
from landline.gateway.listener import WEBSOCKET_PATHS
from landline.protocol import limits
from landline.protocol.codes import FINAL_REFUSAL, FINAL_STATUSES
from landline.terminal import chat as terminal
from landline.terminal import lines
from support import generated
from support.pages import read, section


@pytest.mark.parametrize("name", generated.NAMES)
def test_a_page_has_what_the_code_writes_into_it(name: str) -> None:
    assert read(name) == generated.text(name), "run `make docs`"


def test_the_page_of_the_configuration_has_every_option_once() -> None:
    rows = [line for line in configuration().splitlines() if line.startswith("| `--")]
    for option in OPTIONS.values():
        assert sum(f"`{option.variable}`" in row for row in rows) == 1


# Each with the word before it: "2 s" alone would be found in "12 s" and "0.2 s" too.
FACTS = {
    ("docs/protocol.md", "## Connecting"): [
        f"ping after {PING_AFTER_SECONDS:g} s of silence",
        f"does not answer within {PONG_WITHIN_SECONDS:g} s.",
        f"has 1 to {limits.NAME_BYTES} bytes",
        f"`{limits.SUBPROTOCOL}`",
        *(f"`{path}`" if path == "/ws" else f"`GET {path}`" for path in sorted(WEBSOCKET_PATHS)),
    ],
    ("docs/protocol.md", "## Frames"): [
        f" 1 to {limits.CONTENT_BYTES:,} bytes of",
        f" 1 to {limits.REF_BYTES} bytes of",
        f"up to {limits.ACK_IDS} message ids",
    ],
    ("docs/protocol.md", "## Messages"): [f"At most {limits.WINDOW} messages"],
    ("docs/protocol.md", "## Sending without losing"): [
        f"After {SESSION_FLIGHTS} unanswered sends",
        f"or {SESSION_FLIGHT_BYTES:,} bytes of them",
    ],
    ("docs/protocol.md", "## Receiving without losing"): [
        f"every {Settings().ack_timeout:g} s (`--ack-timeout`)"
    ],
    ("docs/protocol.md", "## Error codes"): [f"The {limits.BAD_FRAMES_IN_A_ROW}th bad frame"],
    ("docs/client.md", "## Sending"): [
        f"up to {repeats.FIRST_REPEAT_SECONDS} s, 1 s, 2 s ... {repeats.LAST_REPEAT_SECONDS:g} s:"
    ],
    ("docs/client.md", "## Receiving"): [
        f"the last {outbox.HANDED_IDS:,} are",
        f"After {Settings().ack_timeout:g} s without",
    ],
    ("docs/client.md", "## Connections"): [
        f"up to {reconnecting.FIRST_SECONDS} s, 0.2 s, 0.4 s ... {reconnecting.LAST_SECONDS:g} s (",
        f"itself, {reconnecting.LAST_SECONDS_HERE:g} s at most",
        f"session that lasted {reconnecting.LASTING_SECONDS:g} s:",
        f"no answer for {link.ANSWER_SECONDS:g} s,",
        f"up to {chat.LEAVE_SECONDS:g} s)",
        f"`{': '.join(FINAL_REFUSAL)}`",
    ],
    ("docs/client.md", "## In a terminal or a pipe"): [
        f"up to {terminal.LAST_ANSWERS_SECONDS:g} s without any",
        f"no answer comes for {terminal.LAST_ANSWERS_SECONDS:g} s,",
        f"At most {terminal.LINES_UNDER_WAY:,} lines",
        f"more than {limits.CONTENT_BYTES:,} bytes",
        f"at {lines.TERMINAL_LINE_BYTES:,} bytes",
    ],
}


def one_line(name: str, heading: str) -> str:
    """Return a section of a page without its line breaks."""
    return " ".join(section(read(name), heading).split())


@pytest.mark.parametrize(("place", "facts"), FACTS.items(), ids=lambda each: str(each[-1]))
def test_the_numbers_in_the_text_are_those_of_the_code(
    place: tuple[str, str], facts: list[str]
) -> None:
    text = one_line(*place)
    assert [fact for fact in facts if fact not in text] == []


# Codes in a sentence: "400, 401 or 403".
LISTED = r"((?:\d+(?:, | or | and )?)+)"
CODES = [
    ("docs/client.md", "## Connections", f"HTTP status {LISTED} with the header", FINAL_STATUSES),
    ("docs/client.md", "## Connections", f"close codes {LISTED}", link.FATAL_CLOSES),
    ("docs/protocol.md", "## Connecting", f"{LISTED} have the header", FINAL_STATUSES),
]


@pytest.mark.parametrize(("name", "heading", "sentence", "codes"), CODES)
def test_the_codes_in_the_text_are_all_that_the_code_has(
    name: str, heading: str, sentence: str, codes: Collection[int]
) -> None:
    [listed] = re.findall(sentence, one_line(name, heading))
    assert sorted(map(int, re.findall(r"\d+", listed))) == sorted(codes)
