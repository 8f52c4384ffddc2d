"""The link: one session after another, until there is nothing to be gained by trying."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest
from websockets.asyncio.server import ServerConnection

from landline.client import reconnecting
from landline.client.address import read_address
from landline.client.credentials import Credentials, TokenSource
from landline.client.dialing import DialTarget
from landline.client.errors import ClientError, Refused, WrongUser
from landline.client.events import Acceptance, Connected, Disconnected, Event
from landline.client.inbox import Inbox
from landline.client.link import Link
from landline.client.outbox import Draft, MemoryOutbox
from landline.client.outgoing import Outgoing
from landline.client.reading import Reading
from landline.protocol.codes import CloseCode
from support.scripted import Scripted, accept_all, scripted, welcome
from support.waiting import until

WAIT_SECONDS = 60.0
Script = Callable[[Scripted, ServerConnection], Awaitable[None]]


class Linked:
    """A link to a scripted server."""

    def __init__(self, url: str, token: TokenSource | None = None) -> None:
        self.events: list[Event] = []
        has_work = asyncio.Event()
        outbox = MemoryOutbox()
        self.outgoing = Outgoing(outbox, self.events.append, self.fail, has_work)
        self.link = Link(
            DialTarget("a", read_address(url), {}, None),
            Credentials(token),
            outbox,
            Inbox(outbox, has_work),
            self.outgoing,
            reading=Reading(has_work),
            on_event=self.events.append,
            has_work=has_work,
        )
        self.running = asyncio.create_task(self.link.run())

    def fail(self, error: Exception) -> None:
        raise AssertionError from error

    async def end(self) -> BaseException | None:
        """Return what ends it."""
        done, _ = await asyncio.wait({self.running}, timeout=WAIT_SECONDS)
        assert done, "it goes on"
        return self.running.exception()


@asynccontextmanager
async def linked(script: Script) -> AsyncIterator[tuple[Linked, Scripted]]:
    async with scripted(script) as server:
        it = Linked(server.url)
        try:
            yield it, server
        finally:
            it.running.cancel()
            with suppress(asyncio.CancelledError, ClientError):
                await it.running


async def test_it_carries_sends_to_the_server_and_answers_back() -> None:
    async with linked(accept_all) as (it, server):
        await asyncio.wait_for(it.link.wait_until_up(), WAIT_SECONDS)
        send = it.outgoing.begin(Draft("r", "b", "hello"))
        answer = await asyncio.wait_for(send.answer, WAIT_SECONDS)
        assert isinstance(answer, Acceptance)
        assert answer.time.tzinfo == UTC
        assert answer.time > datetime(2026, 1, 1, tzinfo=UTC)
        assert [frame["ref"] for frame in server.frames] == ["r"]


async def test_a_session_that_is_lost_is_followed_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconnecting, "FIRST_SECONDS", 0.001)

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        if len(seen.sessions) < 3:
            await socket.close(CloseCode.RESTARTING, "retry_after_ms=0")
        else:
            await socket.wait_closed()

    async with linked(script) as (it, server):
        await until(lambda: len(server.sessions) == 3 and it.link.is_up, "the third one stays")
        kinds = [type(event) for event in it.events]
        assert kinds == [Connected, Disconnected] * 2 + [Connected]
        assert it.link.last_problem == "the server is restarting"


@pytest.mark.parametrize("code", [CloseCode.POLICY, CloseCode.NOT_AUTHENTICATED])
async def test_a_close_that_is_final_ends_it(code: CloseCode) -> None:
    async def script(_seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        await socket.close(code, "go away")

    async with linked(script) as (it, server):
        problem = await it.end()
        assert isinstance(problem, Refused)
        assert "go away" in str(problem)
        assert len(server.sessions) == 1
        assert not it.link.is_up


async def test_another_users_session_ends_it() -> None:
    async def script(_seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket, user="mallory")
        await socket.wait_closed()

    async with linked(script) as (it, _server):
        assert isinstance(await it.end(), WrongUser)
        assert it.events == []
