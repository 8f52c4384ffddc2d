"""A chat: wrong use is told at once, in a sentence, and one that is left lets go of everything."""

import asyncio
import json
import math
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import Chat, ChatClosed, ClientError, Message, OutboxInUse, SendTimeout
from landline.client.outbox import Draft, FileOutbox
from support.scripted import ID, Scripted, accept_all, scripted, tell, welcome
from support.waiting import until

WAIT_SECONDS = 20.0
LINES = 5
MESSAGE = Message("m", "dm:a:b", "b", "a", "hi", datetime(2026, 1, 2, tzinfo=UTC), 1, replay=False)


async def acknowledge(chat: Chat) -> None:
    chat.acknowledge(MESSAGE)


async def iterate(chat: Chat) -> None:
    async for _message in chat:
        pass


USES: dict[str, Callable[[Chat], Awaitable[Any]]] = {
    "send": lambda chat: chat.send("b", "hello"),
    "send with a timeout": lambda chat: chat.send("b", "hello", timeout=5),
    "loop": iterate,
    "anext": anext,
    "acknowledge": acknowledge,
}
WITH_FILE = pytest.mark.parametrize("has_file", [False, True])


def unopened(directory: Path, url: str, *, has_file: bool) -> Chat:
    outbox = directory / "a.db" if has_file else None
    return landline.connect(url, username="a", outbox=outbox)


@WITH_FILE
@pytest.mark.parametrize("use", USES)
async def test_one_that_is_not_open_says_what_to_do(
    use: str, has_file: bool, tmp_path: Path
) -> None:
    async with scripted(accept_all) as server:
        chat = unopened(tmp_path, server.url, has_file=has_file)
        with pytest.raises(ClientError, match="not open: use it inside `async with"):
            await asyncio.wait_for(USES[use](chat), WAIT_SECONDS)
        assert chat.unanswered == []
        async with chat:  # no harm is done
            assert (await chat.send("b", "hello")).id == ID
        assert [frame["content"] for frame in server.frames] == ["hello"]


@WITH_FILE
@pytest.mark.parametrize("when", ["open", "left", "closed before", "failed"])
async def test_one_that_is_opened_again_says_what_to_do(
    when: str, has_file: bool, tmp_path: Path
) -> None:
    async with scripted(accept_all) as server:
        chat = unopened(tmp_path, server.url, has_file=has_file)
        match when:
            case "open":
                await chat.__aenter__()
            case "left":
                async with chat:
                    pass
            case "closed before":
                await chat.close()
            case _:
                entering = asyncio.create_task(chat.__aenter__())
                await asyncio.sleep(0)
                entering.cancel()
                await asyncio.wait({entering})
        with pytest.raises(ClientError, match="opened once: get another one"):
            await asyncio.wait_for(chat.__aenter__(), WAIT_SECONDS)
        if when == "open":  # it is not hurt by that
            assert (await chat.send("b", "hello")).id == ID
            await chat.close()
        with pytest.raises(ChatClosed):
            await asyncio.wait_for(chat.send("b", "hello"), WAIT_SECONDS)


async def test_where_the_outbox_was_in_use_another_chat_is_needed(tmp_path: Path) -> None:
    async with scripted(accept_all) as server:
        first, second = (unopened(tmp_path, server.url, has_file=True) for _ in range(2))
        async with first:
            with pytest.raises(OutboxInUse):
                await second.__aenter__()
        with pytest.raises(ClientError, match="opened once"):
            await asyncio.wait_for(second.__aenter__(), WAIT_SECONDS)


@pytest.mark.parametrize("seconds", ["5", True, [1], math.nan, 1e300])
async def test_a_timeout_that_is_none_is_refused_before_anything_is_kept(seconds: Any) -> None:
    async with (
        scripted(accept_all) as server,
        landline.connect(server.url, username="a") as chat,
    ):
        with pytest.raises((TypeError, ValueError), match=r"^`timeout` "):
            await chat.send("b", "hello", timeout=seconds)
        assert chat.unanswered == []
        assert (await chat.send("b", "later", timeout=math.inf)).id == ID
        with pytest.raises(SendTimeout):
            await chat.send("b", "at once", timeout=-1)
        assert [frame["content"] for frame in server.frames][:1] == ["later"]


# --- leaving -------------------------------------------------------------------------------------


async def answers_nothing(seen: Scripted, socket: ServerConnection) -> None:
    """Push one message, and answer none."""
    await welcome(socket)
    await tell(
        socket, type="message", id=ID, conversation="dm:a:b", sender="b", to="a",
        content="hi", time="2026-01-02T03:04:05.678Z", offset=1,
    )  # fmt: skip
    async for text in socket:
        seen.sessions[-1].append(json.loads(text))


def tasks_of_chats() -> set[str]:
    return {name for t in asyncio.all_tasks() if (name := t.get_name()).startswith("landline-")}


def threads_of_outboxes() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith("outbox")}


async def drafts_in(path: Path, url: str) -> list[Draft]:
    """Return the drafts of a file as soon as it is free."""
    again = FileOutbox(path, "a", url)
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            with suppress(OutboxInUse):
                drafts, _handed = await again.open()
                await again.close()
                return list(drafts)
            await asyncio.sleep(0.01)


async def leave(chat: Chat, turns: int, times: int) -> None:
    """Leave a chat, and be cancelled so often after so many turns of the loop."""
    leaving = asyncio.create_task(chat.close())
    await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(times):
        leaving.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.wait({leaving})


@pytest.mark.parametrize("is_busy", [False, True], ids=["free disk", "busy disk"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21, 100, 1000])
async def test_one_that_is_left_in_a_hurry_lets_go_of_everything(
    turns: int, times: int, tmp_path: Path, *, is_busy: bool
) -> None:
    is_free = threading.Event()
    others = threads_of_outboxes()
    path = tmp_path / "a.db"
    async with scripted(answers_nothing) as server:
        chat = landline.connect(server.url, username="a", outbox=path)
        await chat.__aenter__()
        sends = [chat.begin("b", str(number)) for number in range(LINES)]
        await until(lambda: len(server.frames) == LINES, "they are under way")
        chat.acknowledge(await asyncio.wait_for(anext(chat), WAIT_SECONDS))
        if is_busy:
            assert isinstance(chat._outbox, FileOutbox)
            chat._outbox._thread.submit(is_free.wait, WAIT_SECONDS)
            sends.append(chat.begin("b", str(LINES)))
            await asyncio.sleep(0)  # it is on its way into the file
        await leave(chat, turns, times)
        chat.acknowledge(MESSAGE)  # what a loop does that goes on
        leaving = asyncio.create_task(chat.close())  # as the end of an `async with` does
        is_free.set()
        await asyncio.wait_for(leaving, WAIT_SECONDS)
        await until(lambda: not tasks_of_chats(), "nothing goes on")
        assert [draft.content for draft in await drafts_in(path, server.url)] == [
            str(number) for number in range(len(sends))
        ]
        await until(lambda: threads_of_outboxes() <= others, "no thread is left")
        assert all(isinstance(send.answer.exception(), ChatClosed) for send in sends)
