"""The Python client's outbox: what is kept when a disk is full or slow, or a chat is left."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import ChatClosed, ClientError, ConnectionFailed
from landline.client.outbox import Draft, FileOutbox
from support.scripted import ID, Scripted, accept_all, scripted
from support.waiting import go_round, until


async def test_an_answer_is_given_to_its_sender_even_while_the_connection_goes_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is here, the outbox is still forgetting the draft, and the chat is left."""
    is_removing, may_remove = asyncio.Event(), asyncio.Event()
    remove = FileOutbox.remove

    async def slow_remove(self: FileOutbox, refs: Sequence[str]) -> None:
        is_removing.set()
        await may_remove.wait()
        await remove(self, refs)

    monkeypatch.setattr(FileOutbox, "remove", slow_remove)
    async with scripted(accept_all) as server:
        async with landline.connect(server.url, username="a", outbox=tmp_path / "a.db") as chat:
            sending = asyncio.create_task(chat.send("b", "hello"))
            await is_removing.wait()
            leaving = asyncio.create_task(chat.close())
            await go_round()
            may_remove.set()
            await leaving
        assert (await sending).id == ID


async def test_a_send_that_is_being_kept_while_the_chat_is_left_hears_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the file, so the next process sends it."""
    is_adding, may_add = asyncio.Event(), asyncio.Event()
    add = FileOutbox.add

    async def slow_add(self: FileOutbox, draft: Draft) -> None:
        await add(self, draft)
        is_adding.set()
        await may_add.wait()

    monkeypatch.setattr(FileOutbox, "add", slow_add)
    monkeypatch.setattr("landline.client.chat.LEAVE_SECONDS", 0.05)  # it is waited for in vain
    outbox = tmp_path / "a.db"
    async with scripted(accept_all) as server:
        async with landline.connect(server.url, username="a", outbox=outbox) as chat:
            sending = asyncio.create_task(chat.send("b", "hello"))
            await is_adding.wait()
        may_add.set()
        with pytest.raises(ChatClosed):
            await sending
        async with landline.connect(server.url, username="a", outbox=outbox) as chat:
            await until(lambda: not chat.unanswered, "the outbox is empty")
        assert [(f["content"], f.get("retry")) for f in server.frames] == [("hello", True)]


async def test_a_client_that_gives_up_connecting_leaves_nothing_behind(tmp_path: Path) -> None:
    """Cancelled in `async with`: the file is free again and nobody goes on trying."""

    async def silent(_seen: Scripted, socket: ServerConnection) -> None:
        await socket.wait_closed()

    outbox = tmp_path / "a.db"
    async with scripted(silent) as server:
        chat = landline.connect(server.url, username="a", outbox=outbox)
        entering = asyncio.create_task(chat.__aenter__())
        await until(lambda: bool(server.sessions), "it has connected")
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert "landline-chat" not in {task.get_name() for task in asyncio.all_tasks()}
        sqlite3.connect(outbox, timeout=0, isolation_level="EXCLUSIVE").close()
        with pytest.raises(ConnectionFailed):  # not OutboxInUse
            await landline.connect(
                server.url, username="a", outbox=outbox, connect_timeout=0.1
            ).__aenter__()


async def test_a_full_disk_is_an_error_of_that_send_and_the_outbox_works_on(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path / "a.db", "a", "ws://h/")
    await outbox.open()
    assert outbox._connection is not None
    pages = outbox._connection.execute("PRAGMA page_count").fetchone()[0]
    outbox._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ClientError, match="full"):
        await outbox.add(Draft("r1", "b", "x" * 16_000))
    outbox._connection.execute(f"PRAGMA max_page_count = {pages + 100}")
    await outbox.add(Draft("r2", "b", "small"))
    await outbox.close()
    again = FileOutbox(tmp_path / "a.db", "a", "ws://h/")
    drafts, _handed = await again.open()
    await again.close()
    assert drafts == [Draft("r2", "b", "small")]


async def test_what_waits_is_kept_in_one_transaction_and_what_fails_fails_alone(
    tmp_path: Path,
) -> None:
    """A pipe of thousands of lines is not thousands of syncs of the disk."""
    outbox = FileOutbox(tmp_path / "a.db", "a", "ws://h/")
    await outbox.open()
    assert outbox._connection is not None
    statements: list[str] = []
    outbox._connection.set_trace_callback(statements.append)
    drafts = [Draft(f"r{number}", "b", "x") for number in range(1_000)]
    await asyncio.gather(*map(outbox.add, drafts))
    assert statements.count("COMMIT") < 100
    more = [Draft("r1000", "b", "x"), drafts[0], Draft("r1001", "b", "x")]
    results = await asyncio.gather(*map(outbox.add, more), return_exceptions=True)
    assert [isinstance(result, ClientError) for result in results] == [False, True, False]
    await outbox.remove([draft.ref for draft in drafts])
    await outbox.close()
    again = FileOutbox(tmp_path / "a.db", "a", "ws://h/")
    left, _handed = await again.open()
    await again.close()
    assert left == [more[0], more[2]]


async def test_answers_are_forgotten_together_and_none_is_left_behind(tmp_path: Path) -> None:
    outbox = tmp_path / "a.db"
    async with scripted(accept_all) as server:
        async with landline.connect(server.url, username="a", outbox=outbox) as chat:
            await asyncio.gather(*(chat.send("b", f"m{number}") for number in range(1_000)))
        async with landline.connect(server.url, username="a", outbox=outbox) as chat:
            assert chat.unanswered == []
        assert [frame["content"] for frame in server.frames] == [f"m{n}" for n in range(1_000)]
