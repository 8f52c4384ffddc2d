"""docs/client.md says what the client does: its errors, its events, its limits."""

import dataclasses
import inspect
import re
from typing import get_args

import pytest

from landline import client
from landline.client import chat, dialing, link, outbox, reconnecting, repeats
from landline.client.events import Acceptance, Event, Message
from landline.protocol import limits
from landline.protocol.codes import FINAL_REFUSAL, FINAL_STATUSES
from landline.terminal import chat as terminal
from landline.terminal import lines
from support.pages import read, section, table

PAGE = read("docs/client.md")


def test_every_parameter_is_explained_and_no_other() -> None:
    rows = table(PAGE.split("\n## ", 1)[0])
    explained = {name.strip("`") for name in rows if name.startswith("`")}
    assert explained == set(inspect.signature(client.connect).parameters)


def test_every_error_is_in_the_tree_and_no_other() -> None:
    errors = {
        name
        for name in client.__all__
        if inspect.isclass(getattr(client, name))
        and issubclass(getattr(client, name), client.ClientError)
    }
    words = re.sub("[├└│─]", "", section(PAGE, "## Errors")).splitlines()
    assert {line.split()[0] for line in words if line and not line.startswith("```")} == errors


def test_every_event_is_in_the_table_with_its_fields() -> None:
    rows = table(section(PAGE, "## Events"))
    for event in get_args(Event):
        fields = ", ".join(field.name for field in dataclasses.fields(event))
        assert f"`{event.__name__}({fields})`" in rows


def test_every_field_of_a_message_and_an_acceptance_is_named() -> None:
    for kind, heading in ((Message, "## Receiving"), (Acceptance, "## Sending")):
        for field in dataclasses.fields(kind):
            assert f"`{field.name}`" in section(PAGE, heading), field.name


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("`content`", limits.CONTENT_BYTES),
        ("sends without an answer at the server", repeats.IN_FLIGHT),
        ("messages not handed out yet", limits.WINDOW),
        ("ids remembered against repeats", outbox.HANDED_IDS),
        ("first connection", chat.CONNECT_TIMEOUT_SECONDS),
        ("answer to a send", link.ANSWER_SECONDS),
        ("time between tries to connect", reconnecting.LAST_SECONDS),
        (
            "time between tries of a send that the server could not take",
            repeats.LAST_REPEAT_SECONDS,
        ),
        ("a frame of the server", dialing.MOST_FRAME_BYTES / 1024**2),
    ],
)
def test_every_limit_is_in_the_table_with_its_value(what: str, limit: float) -> None:
    number = table(section(PAGE, "## Limits"))[what][0].replace(";", " ").split()[0]
    assert float(number.replace(",", "")) == limit


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    for words in (
        f"(the last\n  {outbox.HANDED_IDS:,} are remembered)",
        f"first connection ({chat.CONNECT_TIMEOUT_SECONDS:g})",
        f"up to {reconnecting.FIRST_SECONDS} s",
        f"on this machine itself, {reconnecting.LAST_SECONDS_HERE:g} s at most",
        f"a session that lasted {reconnecting.LASTING_SECONDS:g} s",
        f"up to {repeats.FIRST_REPEAT_SECONDS} s, 1 s, 2 s ... {repeats.LAST_REPEAT_SECONDS:g} s",
        f"status 400, 401 or 403 with the header `{': '.join(FINAL_REFUSAL)}`",
        f"answer for {link.ANSWER_SECONDS:g} s",
        f"for up to {chat.LEAVE_SECONDS:g} s",
        "close codes\n" + ", ".join(str(int(code)) for code in sorted(link.FATAL_CLOSES)),
    ):
        assert words in PAGE, words
    assert {400, 401, 403} == FINAL_STATUSES


def test_the_numbers_of_the_terminal_are_those_of_the_code() -> None:
    text = section(PAGE, "## In a terminal or a pipe")
    for words in (
        f"for up to {terminal.LAST_ANSWERS_SECONDS:g} s without any",
        f"At most {terminal.LINES_UNDER_WAY:,} lines wait",
        f"more than {limits.CONTENT_BYTES:,} bytes",
        f"at {lines.TERMINAL_LINE_BYTES:,} bytes",
    ):
        assert words in text, words
