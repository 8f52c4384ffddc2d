"""What the code writes into the pages is there, and numbers in their text are those of the code."""

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


FACTS = {
    ("docs/protocol.md", "## Connecting"): [
        f"{PING_AFTER_SECONDS:g} s",
        f"{PONG_WITHIN_SECONDS:g} s",
        f"{limits.NAME_BYTES} bytes",
        f"`{limits.SUBPROTOCOL}`",
        *(path if path == "/ws" else f"GET {path}" for path in sorted(WEBSOCKET_PATHS)),
    ],
    ("docs/protocol.md", "## Frames"): [
        f"1 to {limits.CONTENT_BYTES:,} bytes",
        f"1 to {limits.REF_BYTES} bytes",
        f"{limits.ACK_IDS} message ids",
    ],
    ("docs/protocol.md", "## Messages"): [f"{limits.WINDOW} messages"],
    ("docs/protocol.md", "## Sending without losing"): [
        f"{SESSION_FLIGHTS} unanswered sends",
        f"{SESSION_FLIGHT_BYTES:,} bytes",
    ],
    ("docs/protocol.md", "## Receiving without losing"): [f"{Settings().ack_timeout:g} s"],
    ("docs/protocol.md", "## Error codes"): [f"{limits.BAD_FRAMES_IN_A_ROW}th"],
    ("docs/client.md", "## Sending"): [
        f"{repeats.FIRST_REPEAT_SECONDS} s, 1 s, 2 s ... {repeats.LAST_REPEAT_SECONDS:g} s"
    ],
    ("docs/client.md", "## Receiving"): [f"{outbox.HANDED_IDS:,}"],
    ("docs/client.md", "## Connections"): [
        f"{reconnecting.FIRST_SECONDS} s",
        f"{reconnecting.LAST_SECONDS_HERE:g} s",
        f"{reconnecting.LASTING_SECONDS:g} s",
        f"{link.ANSWER_SECONDS:g} s",
        f"{chat.LEAVE_SECONDS:g} s",
        f"`{': '.join(FINAL_REFUSAL)}`",
        *map(str, FINAL_STATUSES),
        *(str(int(code)) for code in link.FATAL_CLOSES),
    ],
    ("docs/client.md", "## In a terminal or a pipe"): [
        f"{terminal.LAST_ANSWERS_SECONDS:g} s",
        f"{terminal.LINES_UNDER_WAY:,} lines",
        f"{limits.CONTENT_BYTES:,} bytes",
        f"{lines.TERMINAL_LINE_BYTES:,} bytes",
    ],
}


@pytest.mark.parametrize(("place", "facts"), FACTS.items(), ids=lambda each: str(each[-1]))
def test_the_numbers_in_the_text_are_those_of_the_code(
    place: tuple[str, str], facts: list[str]
) -> None:
    name, heading = place
    text = " ".join(section(read(name), heading).split())
    assert [fact for fact in facts if fact not in text] == []
