"""Nobody has to wait for the next try to connect: a send and the Enter key make one."""

import asyncio
import io
import os
import pty
from collections.abc import AsyncIterator

import pytest

import landline
from landline.client import Chat, Disconnected, Event
from landline.client.reconnecting import ReconnectDelays
from landline.terminal.chat import Terminal
from landline.terminal.lines import Input
from landline.terminal.screen import Screen
from landline_stack.ports import free_port
from support.scripted import ID, accept_all, scripted
from support.waiting import until

LONG = 3_600.0


@pytest.fixture(autouse=True)
def only_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReconnectDelays, "next_seconds", lambda *_args, **_named: LONG)


@pytest.fixture
async def waiting() -> AsyncIterator[tuple[Chat, int]]:
    """A chat that has found nobody, and the port at which it looked."""
    port, events = free_port(), list[Event]()
    async with landline.connect(
        f"ws://127.0.0.1:{port}/ws/chat", username="a", connect_timeout=None,
        on_event=events.append,
    ) as chat:  # fmt: skip
        await until(lambda: bool(events), "it has found nobody")
        assert events == [Disconnected(f"nothing listens at 127.0.0.1:{port}", LONG)]
        yield chat, port


async def test_a_send_tries_at_once(waiting: tuple[Chat, int]) -> None:
    chat, port = waiting
    async with scripted(accept_all, port):
        assert (await chat.send("b", "hello", timeout=60)).id == ID


async def test_a_program_can_hurry_without_a_send(waiting: tuple[Chat, int]) -> None:
    chat, port = waiting
    async with scripted(accept_all, port) as server:
        chat.hurry()
        await until(lambda: bool(server.sessions), "it is there")


@pytest.mark.parametrize("typed", [b"\n", b"/help\n", b"hello\n"])
async def test_enter_tries_at_once_and_the_reason_is_a_sentence(typed: bytes) -> None:
    port = free_port()
    ours, theirs = pty.openpty()
    screen = io.StringIO()
    with os.fdopen(theirs) as keyboard:
        terminal = Terminal("b", Input(keyboard), Screen(screen), io.StringIO())
        chat = landline.connect(
            f"ws://127.0.0.1:{port}/ws/chat", username="a", connect_timeout=None,
            on_event=terminal.show_event,
        )  # fmt: skip
        running = asyncio.create_task(terminal.run(chat))
        why = f"-- connecting (nothing listens at 127.0.0.1:{port})\n"
        await until(lambda: why in screen.getvalue(), "it has found nobody")
        async with scripted(accept_all, port):
            os.write(ours, typed)
            await until(lambda: "-- connected" in screen.getvalue(), "it is there")
            os.write(ours, b"/quit\n")
            async with asyncio.timeout(60):
                assert await running == 0
    os.close(ours)
