"""Commands about conversations: what they show, and what they say where there is no answer."""

import io
import os

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.terminal import chat as terminal
from landline.terminal.chat import Terminal
from landline.terminal.lines import Input
from landline.terminal.screen import Screen
from support.peer import Frame
from support.scripted import Script, Scripted, accept, scripted, tell, welcome

TIME = "2026-01-02T03:04:05.678Z"
ROOMS = [f"room:{number}214be8f-d5fb-8ff7-adf5-4aa071e17d43" for number in range(3)]


def listed(room: str, title: str | None, **more: object) -> Frame:
    return {
        "conversation": room, "kind": "room", "title": title, "role": "member", "offset": 1,
        "time": TIME, "preview": "", "read_offset": 0, "unread": 0, **more,
    }  # fmt: skip


LISTED = [
    [listed(ROOMS[0], "Lunch", unread=100), {**listed("dm:a:b", None), "kind": "direct"}],
    [listed(ROOMS[1], "Lunch", role="admin"), listed(ROOMS[2], None)],
]


async def answer_list(server: Scripted, socket: ServerConnection) -> None:
    """Answer with a list of two pages, and take what is sent."""
    await welcome(socket)
    async for frame in server.hear(socket):
        if frame["type"] == "list":
            is_first = "after" not in frame
            more = {"next": "here"} if is_first else {}
            items = LISTED[0 if is_first else 1]
            await tell(socket, type="conversations", request=frame["request"], items=items, **more)
        elif frame["type"] == "send":
            await accept(socket, frame)


async def silence(server: Scripted, socket: ServerConnection) -> None:
    """Answer nothing."""
    await welcome(socket)
    async for _frame in server.hear(socket):
        pass


async def shown(script: Script, text: str) -> tuple[list[str], Scripted]:
    """Return what a terminal of `a` shows after these lines, and what the server saw."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    screen = io.StringIO()
    async with scripted(script) as server:
        with os.fdopen(reading) as stream:
            seen_by = Terminal(None, Input(stream), Screen(screen), None)
            chat = landline.connect(server.url, username="a", on_event=seen_by.show_event)
            await seen_by.run(chat)
    lines = screen.getvalue().splitlines()
    own_notes = ("-- connected", "-- say whom", "-- waiting")
    return [line for line in lines if not line.startswith(own_notes)], server


async def test_rooms_are_listed_with_what_is_unread_over_all_pages() -> None:
    lines, _ = await shown(answer_list, "/rooms\n")
    assert lines == [
        f"-- room Lunch: 100 or more unread, {ROOMS[0]}",
        f"-- room Lunch: 0 unread, admin, {ROOMS[1]}",
        f"-- room 2214be8f: 0 unread, {ROOMS[2]}",
    ]


async def test_of_rooms_with_one_title_the_id_tells_which() -> None:
    lines, server = await shown(
        answer_list, f"/room Lunch\nfor nobody\n/room 1\nhello\n/room {ROOMS[2]}\nhi\n"
    )
    marks = ("\u2717", "\u2713")
    notes = [line for line in lines if not line.startswith(marks)]
    assert notes == ["-- talking in room Lunch", "-- talking in room 2214be8f"]
    assert "several of your rooms are called so; give the beginning of its id" in lines[0]
    sends = [(each["conversation"], each["content"]) for each in _sends(server)]
    assert sends == [(ROOMS[1], "hello"), (ROOMS[2], "hi")]


async def test_without_an_answer_the_line_is_named_and_the_next_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(terminal, "LAST_ANSWERS_SECONDS", 0.2)
    lines, server = await shown(silence, "/room Lunch\n/room\n/help\n")
    assert "the server does not answer; try again" in lines[0]
    assert "write /room NAME; /rooms lists your rooms" in lines[1]
    assert "type a line and press Enter to send it" in lines[2]
    assert [frame["type"] for frame in server.frames] == ["list"]


def _sends(server: Scripted) -> list[Frame]:
    return [frame for frame in server.frames if frame["type"] == "send"]
