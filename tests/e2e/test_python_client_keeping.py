"""A send whose draft is still being kept: the disk is busy, and its sender does not wait."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import landline
from landline.client import (
    Chat,
    ChatClosed,
    ClientError,
    Connected,
    Disconnected,
    Event,
    Rejected,
    SendTimeout,
)
from landline.client.outbox import FileOutbox
from support.scripted import ID, accept_all, scripted, scripted_chat
from support.waiting import go_round, until

WAIT_SECONDS = 20.0


@contextmanager
def busy_disk(chat: Chat) -> Iterator[threading.Event]:
    """Nothing is written before the event is set; it is set at the end at the latest."""
    is_free = threading.Event()
    assert isinstance(chat._outbox, FileOutbox)
    chat._outbox._thread.submit(is_free.wait, WAIT_SECONDS)
    try:
        yield is_free
    finally:
        is_free.set()


async def give_up(chat: Chat, how: str, content: str = "hello") -> None:
    """Begin a send and do not wait for it."""
    match how:
        case "cancelled at once":
            sending = asyncio.create_task(chat.send("b", content))
            await go_round()
            sending.cancel()
            await asyncio.wait({sending})
            assert sending.cancelled()
        case "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(chat.send("b", content), 0.05)
        case "timeout":
            with pytest.raises(SendTimeout):
                await chat.send("b", content, timeout=0.05)
        case _:
            with pytest.raises(SendTimeout):
                await chat.send("b", content, timeout=0)


HOW = pytest.mark.parametrize("how", ["cancelled at once", "wait_for", "timeout", "timeout of 0"])


@HOW
async def test_giving_up_a_send_does_not_take_it_back(how: str, tmp_path: Path) -> None:
    """It goes out in this session, after what was begun before it and before what comes later."""
    async with scripted_chat(accept_all, outbox=tmp_path / "a.db") as (server, chat):
        with busy_disk(chat) as is_free:
            before = asyncio.create_task(chat.send("b", "before"))
            await go_round()
            await give_up(chat, how)
            assert not is_free.is_set()  # the time that was given is over, whatever the disk does
            assert [draft.content for draft in chat.unanswered] == ["before", "hello"]
            after = asyncio.create_task(chat.send("b", "after"))
            await go_round()
        assert [(await send).id for send in (before, after)] == [ID, ID]
        await until(lambda: not chat.unanswered, "all are answered")
        assert [frame["content"] for frame in server.frames] == ["before", "hello", "after"]


@pytest.mark.parametrize("how", ["cancelled at once", "timeout of 0"])
async def test_without_a_file_either(how: str) -> None:
    async with scripted_chat(accept_all, connect_timeout=None) as (server, chat):
        await give_up(chat, how)
        await until(lambda: not chat.unanswered, "it is answered")
        assert [frame["content"] for frame in server.frames] == ["hello"]


@HOW
async def test_it_is_kept_before_the_chat_is_left(how: str, tmp_path: Path) -> None:
    outbox = tmp_path / "a.db"
    async with scripted(accept_all) as server:
        chat = landline.connect(server.url, username="a", outbox=outbox)
        await chat.__aenter__()
        with busy_disk(chat) as is_free:
            waiting = asyncio.create_task(chat.send("b", "somebody waits"))
            await go_round()
            await give_up(chat, how)
            leaving = asyncio.create_task(chat.close())
            await until(lambda: chat._ended is not None, "it is being left")
            is_free.set()
            await leaving
        with pytest.raises(ChatClosed):
            await waiting
        assert [draft.content for draft in chat.unanswered] == ["somebody waits", "hello"]
        assert server.frames == []
        async with landline.connect(server.url, username="a", outbox=outbox) as chat:
            await until(lambda: not chat.unanswered, "the outbox is empty")
        assert [f["content"] for f in server.frames] == ["somebody waits", "hello"]


def fill(chat: Chat) -> None:
    """The disk is full from now on."""
    assert isinstance(chat._outbox, FileOutbox)
    connection = chat._outbox._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")


@HOW
async def test_one_that_cannot_be_kept_is_told_to_its_sender(how: str, tmp_path: Path) -> None:
    events: list[Event] = []
    text = "x" * 16_000
    async with scripted_chat(accept_all, outbox=tmp_path / "a.db", on_event=events.append) as (
        server,
        chat,
    ):
        fill(chat)
        with busy_disk(chat):
            await give_up(chat, how, text)
        await until(lambda: not chat.unanswered, "it is given up")
        with pytest.raises(ClientError, match="full"):
            await chat.send("b", text)
        assert server.frames == []
    (told,) = [event for event in events if not isinstance(event, Connected | Disconnected)]
    assert isinstance(told, Rejected)
    assert (told.to, told.content, told.code) == ("b", text, "not_kept")
    assert "full" in told.reason


async def test_one_that_cannot_be_kept_is_at_least_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "secret" * 2_500
    async with scripted_chat(accept_all, outbox=tmp_path / "a.db") as (_server, chat):
        fill(chat)
        with busy_disk(chat):
            await give_up(chat, "timeout", text)
        await until(lambda: not chat.unanswered, "it is given up")
    assert "to 'b'" in caplog.text
    assert "full" in caplog.text
    assert "secret" not in caplog.text
