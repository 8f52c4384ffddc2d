"""The terminal of one device: lines of the others are own lines, and what came before says so."""

import asyncio
import io
import json
import os
import re
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import SendTimeout
from landline.terminal.chat import Terminal, run_chat
from landline.terminal.files import default_outbox, left_without_device
from landline.terminal.lines import Input
from landline.terminal.screen import Screen
from support.peer import Frame
from support.scripted import Scripted, scripted, tell, welcome

WAIT_SECONDS = 30.0
TIME = "2026-01-02T03:04:05.678Z"


def message(content: str, sender: str, to: str, **more: object) -> Frame:
    return {
        "type": "message", "id": content, "conversation": "dm:a:b", "sender": sender, "to": to,
        "content": content, "time": TIME, "offset": 1, **more,
    }  # fmt: skip


async def shown(*frames: Frame) -> list[str]:
    """Return what a terminal of `a` shows of these frames, without its own notes. A message is
    acknowledged before the next frame comes.
    """

    async def script(_server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        for frame in frames:
            await tell(socket, **frame)
            if frame["type"] in {"message", "member", "room"}:
                assert json.loads(await socket.recv())["ids"] == [frame["id"]]
        os.close(writing)  # the input ends
        await socket.wait_closed()

    reading, writing = os.pipe()
    screen = io.StringIO()
    async with scripted(script) as server, asyncio.timeout(WAIT_SECONDS):
        with os.fdopen(reading) as stream:
            terminal = Terminal("b", Input(stream), Screen(screen), None)
            chat = landline.connect(
                server.url, username="a", device="pc", on_event=terminal.show_event
            )
            assert await terminal.run(chat) == 0
    lines = screen.getvalue().splitlines()
    when = re.compile(r"\[2026-01-0[1-3] \d\d:\d\d( earlier)?\]")
    own_notes = ("-- connected", "-- waiting", "-- reconnecting")
    return [when.sub(r"[T\1]", line) for line in lines if not line.startswith(own_notes)]


async def test_what_was_sent_from_another_device_is_an_own_line_with_its_ticks() -> None:
    status = {"type": "status", "ids": ["hi bob"], "user": "b", "status": "DELIVERED", "time": TIME}
    assert await shown(
        message("hi bob", "a", "b"),
        message("hi alice", "b", "a"),
        message("to myself", "a", "a"),
        status,
        message("last", "b", "a"),
    ) == [
        "\u2713 [T] to b: hi bob",
        "[T] b: hi alice",
        "[T] a: to myself",
        "\u2713\u2713 hi bob",
        "[T] b: last",
    ]


async def test_what_came_earlier_is_shown_as_such() -> None:
    assert await shown(
        message("mine", "a", "b", replay=True), message("theirs", "b", "a", replay=True)
    ) == ["\u2713 [T earlier] to b: mine", "[T earlier] b: theirs"]


async def test_names_and_texts_of_other_devices_cannot_steer_the_terminal() -> None:
    [line] = await shown(message("\x1b[2J", "a", "b\x1b"))
    assert line == "\u2713 [T] to b\ufffd: \ufffd[2J"


# --- rooms ---------------------------------------------------------------------------------------

ROOM = "room:2214be8f-d5fb-8ff7-adf5-4aa071e17d43"


def in_room(kind: str, id: str, **more: object) -> Frame:
    return {
        "type": kind, "id": id, "conversation": ROOM, "sender": "b", "time": TIME, "offset": 1,
        **more,
    }  # fmt: skip


def changed(id: str, change: str, user: str, role: str = "member") -> Frame:
    return in_room("member", id, user=user, change=change, role=role)


async def test_a_room_is_shown_with_its_title_or_its_id_and_what_happens_is_a_line() -> None:
    assert await shown(
        in_room("message", "hi all", content="hi all"),
        in_room("room", "r1", title="Lunch\x1b"),
        in_room("message", "where?", content="where?", replay=True),
        in_room("message", "here", content="here", sender="a"),
        changed("m1", "add", "c"),
        changed("m2", "role", "c", "admin"),
        changed("m3", "role", "c"),
        changed("m4", "remove", "c"),
        changed("m5", "remove", "b"),
        in_room("room", "r2", title=None),
    ) == [
        "[T] room 2214be8f: b: hi all",
        "-- room Lunch\ufffd: b called it Lunch\ufffd",
        "[T earlier] room Lunch\ufffd: b: where?",
        "\u2713 [T] room Lunch\ufffd: here",
        "-- room Lunch\ufffd: b added c",
        "-- room Lunch\ufffd: b made c an admin",
        "-- room Lunch\ufffd: b made c a member",
        "-- room Lunch\ufffd: b removed c",
        "-- room Lunch\ufffd: b left",
        "-- room 2214be8f: b took the title away, if there was one",
    ]


# --- the outbox -----------------------------------------------------------------------------------

URL = "ws://127.0.0.1:1/ws/chat"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_each_device_has_a_file_and_its_name_is_in_it() -> None:
    names = [default_outbox(URL, "al", device).name for device in (None, "pc", "phone")]
    assert len(set(names)) == 3
    assert "-pc-" in names[1]
    longest = default_outbox(f"ws://{'x' * 63}.{'y' * 63}/ws", "u" * 64, "d" * 64).name
    assert len(f"{longest}-journal") <= 255


@pytest.mark.parametrize(
    ("count", "told"), [(0, None), (1, "1 unsent line is kept"), (2, "2 unsent lines are kept")]
)
async def test_a_chat_with_a_device_says_what_those_without_have_left(
    count: int, told: str | None
) -> None:
    async with landline.connect(
        URL, username="al", outbox=default_outbox(URL, "al"), connect_timeout=None
    ) as chat:
        for number in range(count):
            with pytest.raises(SendTimeout):
                await chat.send("b", str(number), timeout=0.1)
        assert left_without_device(URL, "al") is None  # it is still there
    note = left_without_device(URL, "al")
    assert note == (
        told and f"{told} of a chat without --device; the next chat without it sends what is kept"
    )
    assert left_without_device(URL, "zoe") is None


async def test_two_devices_of_one_user_can_chat_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that is kept says which chat sends it."""
    monkeypatch.setattr("landline.terminal.chat.LAST_ANSWERS_SECONDS", 0.3)
    async with landline.connect(
        URL, username="al", outbox=default_outbox(URL, "al", "phone"), connect_timeout=None
    ):
        reading, writing = os.pipe()
        os.write(writing, b"hello\n")
        os.close(writing)
        with os.fdopen(reading) as stream:
            monkeypatch.setattr("sys.stdin", stream)
            assert await run_chat(URL, "al", "b", None, device="pc") == 1
    assert "your next chat at this address with --device pc sends it" in capsys.readouterr().err
