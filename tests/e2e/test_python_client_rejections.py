"""A message that is rejected when nobody waits for its answer is told all the same."""

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import (
    Accepted,
    Connected,
    Disconnected,
    Event,
    MessageRejected,
    Rejected,
    SendTimeout,
)
from landline.client.outbox import Draft, FileOutbox
from support.scripted import Scripted, accept, scripted, scripted_chat, tell, welcome
from support.server import ServerProcess
from support.waiting import until

REJECTED = Rejected("b", "lost?", "bad_recipient", "no such name")


async def reject(seen: Scripted, socket: ServerConnection) -> None:
    """Reject everything but what is fine."""
    await welcome(socket)
    async for frame in seen.hear(socket):
        if frame["content"] == "fine":
            await accept(socket, frame)
            continue
        await tell(
            socket, type="error", code=REJECTED.code, message=REJECTED.reason,
            outcome="rejected", ref=frame["ref"],
        )  # fmt: skip


async def keep(path: Path, draft: Draft, url: str) -> None:
    """Leave a draft as an earlier process does."""
    outbox = FileOutbox(path, "a", url)
    await outbox.open()
    await outbox.add(draft)
    await outbox.close()


async def kept(path: Path, url: str) -> list[str]:
    """Return what is in an outbox."""
    outbox = FileOutbox(path, "a", url)
    drafts, _handed = await outbox.open()
    await outbox.close()
    return [draft.content for draft in drafts]


def news(events: list[Event]) -> list[Event]:
    """Return what is told of messages."""
    return [event for event in events if not isinstance(event, Connected | Disconnected)]


async def test_a_draft_of_an_earlier_process_that_is_rejected_is_told_with_its_text(
    tmp_path: Path,
) -> None:
    events: list[Event] = []
    outbox = tmp_path / "a.db"
    async with scripted(reject) as server:
        await keep(outbox, Draft("r", "b", "lost?"), server.url)
        async with landline.connect(
            server.url, username="a", outbox=outbox, on_event=events.append
        ) as chat:
            await until(lambda: not chat.unanswered, "it is answered")
        assert await kept(outbox, server.url) == []
    assert news(events) == [REJECTED]


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
async def test_one_that_its_sender_gave_up_is_told(how: str) -> None:
    events: list[Event] = []
    may_answer = asyncio.Event()

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await may_answer.wait()
        await reject(seen, socket)

    async with scripted_chat(script, on_event=events.append, connect_timeout=None) as (
        _server,
        chat,
    ):
        if how == "cancelled":
            sending = asyncio.create_task(chat.send("b", "lost?"))
            await until(lambda: bool(chat.unanswered), "it is under way")
            sending.cancel()
            await asyncio.wait({sending})
        else:
            with pytest.raises(SendTimeout):
                await chat.send("b", "lost?", timeout=0)
        may_answer.set()
        await until(lambda: bool(news(events)), "it is told")
    assert news(events) == [REJECTED]


async def test_a_sender_that_waits_for_the_answer_is_told_once() -> None:
    events: list[Event] = []
    async with scripted_chat(reject, on_event=events.append) as (_server, chat):
        with pytest.raises(MessageRejected, match="no such name"):
            await chat.send("b", "lost?")
        await chat.send("b", "fine")
    assert [type(event) for event in news(events)] == [Accepted]


async def test_one_that_could_not_be_told_is_not_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody listens, or the listener fails."""

    def fail(event: Event) -> None:
        if isinstance(event, Rejected):
            raise ZeroDivisionError

    outbox = tmp_path / "a.db"
    async with scripted(reject) as server:
        await keep(outbox, Draft("r", "b", "lost?"), server.url)
        async with landline.connect(server.url, username="a", outbox=outbox) as chat:
            await until(lambda: not chat.unanswered, "it is answered")
        assert "rejected: bad_recipient" in caplog.text
        assert "lost?" not in caplog.text
        assert await kept(outbox, server.url) == ["lost?"]
        async with landline.connect(
            server.url, username="a", outbox=outbox, on_event=fail, connect_timeout=None
        ) as chat:
            with pytest.raises(landline.client.ClientError, match="ZeroDivisionError"):
                await anext(chat)
        assert await kept(outbox, server.url) == ["lost?"]


async def test_an_acceptance_that_could_not_be_told_is_told_by_the_next_chat(
    tmp_path: Path,
) -> None:
    """The listener may fail: the draft is repeated, and a repeat is stored once."""
    events: list[Event] = []

    def fail(event: Event) -> None:
        if isinstance(event, Accepted):
            raise ZeroDivisionError

    outbox = tmp_path / "a.db"
    async with scripted(reject) as server:
        await keep(outbox, Draft("r", "b", "fine"), server.url)
        async with landline.connect(
            server.url, username="a", outbox=outbox, on_event=fail, connect_timeout=None
        ) as chat:
            with pytest.raises(landline.client.ClientError, match="ZeroDivisionError"):
                await anext(chat)
        assert await kept(outbox, server.url) == ["fine"]
        async with landline.connect(
            server.url, username="a", outbox=outbox, on_event=events.append
        ) as chat:
            await until(lambda: not chat.unanswered, "it is answered")
        assert await kept(outbox, server.url) == []
    assert [type(event) for event in news(events)] == [Accepted]


async def test_a_server_of_today_tells_what_it_rejects_of_an_earlier_version(
    server: ServerProcess, tmp_path: Path
) -> None:
    """Earlier ones took names that nobody can see."""
    events: list[Event] = []
    outbox = tmp_path / "a.db"
    await keep(outbox, Draft("r", "bo\u200bb", "lost?"), server.ws_url)
    async with landline.connect(
        server.ws_url, username="a", outbox=outbox, on_event=events.append
    ) as chat:
        await until(lambda: not chat.unanswered, "it is answered")
    (event,) = news(events)
    assert isinstance(event, Rejected)
    assert (event.to, event.content, event.code) == ("bo\u200bb", "lost?", "bad_recipient")
