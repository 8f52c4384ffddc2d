"""What was not accepted: counted and named, and never more kept than is said."""

import io
import os
import threading
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

import landline
from landline.terminal.chat import Terminal
from landline.terminal.left import NAMED_CHARACTERS, NAMED_LINES, REASON_CHARACTERS, Left
from landline.terminal.lines import Input
from landline.terminal.screen import Screen, harmless
from support.peer import Frame
from support.scripted import accept_all, scripted

BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(st.lists(st.tuples(st.integers(0, 50), st.text(max_size=100), st.text(max_size=400))))
def test_all_are_counted_and_the_first_are_named(lines: list[tuple[int, str, str]]) -> None:
    left = Left()
    for line in lines:
        left.add(*line)
    assert bool(left) == bool(lines)
    if not lines:
        assert left.told() == ""
        return
    head, *told = left.told().split("\n  ")
    assert head.startswith(f"{len(lines)} line")
    assert len(told) == min(len(lines), NAMED_LINES) + (len(lines) > NAMED_LINES)
    first = sorted(number for number, *_ in lines if number)[:NAMED_LINES]
    numbers = [f"line {number}: " for number in first]
    for number, named in zip(numbers, told, strict=False):
        assert named.startswith(number)
    assert all(len(each) < NAMED_CHARACTERS + REASON_CHARACTERS + 50 for each in told)


def test_no_more_is_kept_than_is_said() -> None:
    left = Left()
    for number in range(1, 10_000):
        left.add(number, "x" * 16_000, "y" * 16_000)
    kept = [*left._named]
    assert len(kept) == NAMED_LINES
    assert all(len(line.text) + len(line.why) < 400 for line in kept)


def test_every_character_is_shown_or_has_a_substitute() -> None:
    """By its category, as Unicode says; these have no more characters in any version."""
    for code in range(0x110000):
        character = chr(code)
        is_unfit = unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or character in BIDI
        substitute = "\N{RETURN SYMBOL}" if character == "\n" else "\N{REPLACEMENT CHARACTER}"
        assert harmless(character) == (substitute if is_unfit else character)


async def test_of_a_pipe_no_more_of_a_refused_line_is_shown_than_names_it() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "w") as file:
            for _ in range(200):
                file.write("/" + "x" * 16_000 + "\n")
            file.write("/to b\nlast")

    threading.Thread(target=write).start()
    screen, errors = io.StringIO(), io.StringIO()
    async with scripted(accept_all) as server:
        with os.fdopen(reading) as stream:
            chats = Terminal(None, Input(stream), Screen(screen), errors)
            chat = landline.connect(server.url, username="a", on_event=chats.show_event)
            assert await chats.run(chat) == 1
    sent: list[Frame] = server.frames
    assert [frame["content"] for frame in sent] == ["last"]
    assert "200 lines were not accepted" in errors.getvalue()
    assert max(map(len, screen.getvalue().splitlines())) < 200
