"""The link to the server: one connection after another, for as long as the chat is open."""

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from landline.client.dialing import DialFailed, DialTarget, dial, leaving
from landline.client.errors import Refused, WrongUser
from landline.client.events import Connected, Delivered, Disconnected, Event, Message
from landline.client.inbox import Inbox
from landline.client.outgoing import Outgoing
from landline.client.reasons import why_closed
from landline.client.reconnecting import (
    LAST_SECONDS,
    LAST_SECONDS_HERE,
    Asked,
    ReconnectDelays,
    asked_by_reason,
)
from landline.client.tries import Tries
from landline.client.wire import AcceptedFrame, ErrorFrame, NotLandline, read_frame, read_welcome
from landline.protocol.codes import CloseCode

ANSWER_SECONDS = 15.0  # a send without an answer for this long: the connection is dead
WELCOME_SECONDS = 10.0

FATAL_CLOSES = {
    CloseCode.POLICY,
    CloseCode.NOT_AUTHENTICATED,
    CloseCode.FORBIDDEN,
    CloseCode.UNSUPPORTED,
}
# What only Landline's servers say. The others may also be a proxy's, before there is a session.
_OWN_CLOSES = {CloseCode.NOT_AUTHENTICATED, CloseCode.FORBIDDEN}

_log = logging.getLogger("landline.client")


class Link:
    """Keeps a session with the server, and carries what inbox and outgoing have for it."""

    def __init__(
        self,
        target: DialTarget,
        inbox: Inbox,
        outgoing: Outgoing,
        on_event: Callable[[Event], None] | None,
        has_work: asyncio.Event,
    ) -> None:
        self._target = target
        self._inbox = inbox
        self._outgoing = outgoing
        self._on_event = on_event
        self._has_work = has_work
        self._delays = ReconnectDelays()
        self._tries = Tries()
        self._is_welcome = asyncio.Event()
        self.last_problem = "nobody answered"

    @property
    def is_up(self) -> bool:
        """Say whether there is a session now."""
        return self._is_welcome.is_set()

    async def wait_until_up(self) -> None:
        """Wait for a session."""
        await self._is_welcome.wait()

    def hurry(self) -> None:
        """Try again to connect as soon as that is allowed."""
        self._tries.hurry()

    async def run(self) -> None:
        """Keep a session until this is cancelled.

        Raises: Refused, and any other ClientError after which trying again does not help; anything
        that `on_event` raises.
        """
        while True:
            refusal, longest = None, LAST_SECONDS
            try:
                reason, asked, refusal = await self._session()
            except DialFailed as failure:
                reason, asked = failure.reason, failure.asked
                if failure.is_nobody_here:
                    longest = LAST_SECONDS_HERE
                if failure.is_final:
                    refusal = Refused(f"the server refused the connection: {reason}")
            except NotLandline as error:
                # Not certainly the server: also a proxy that answers for it meanwhile.
                reason, asked = str(error), None
                _log.warning("reconnecting to %s: %s", self._target.address.server, reason)
            self.last_problem = reason
            try:
                await self._outgoing.forget_answered()
            finally:
                if refusal is not None:
                    raise refusal
            delay = self._delays.next_seconds(asked, longest)
            self._tell(Disconnected(reason, delay))
            await self._tries.pause(delay, 0.0 if asked is None else asked.obeyed_seconds)

    async def _session(self) -> tuple[str, Asked | None, Refused | None]:
        """Serve one connection. Returns what `_farewell` does."""
        clock = asyncio.get_running_loop().time
        socket = await dial(self._target)
        async with leaving(socket):
            try:
                async with asyncio.timeout(WELCOME_SECONDS):
                    welcome = read_welcome(await socket.recv())
            except TimeoutError:
                reason = f"no welcome within {WELCOME_SECONDS:g} s"
                await socket.close(CloseCode.NO_PROGRESS, reason)
                return reason, None, None
            except ConnectionClosed:
                return _farewell(socket, _OWN_CLOSES)
            if welcome.user != self._target.username:
                raise WrongUser(self._target.username, welcome.user)
            began = clock()
            self._is_welcome.set()
            self._tell(Connected(welcome.server, welcome.session))
            self._outgoing.connected()
            try:
                await self._serve(socket)
            finally:
                self._is_welcome.clear()
                self._outgoing.disconnected()
                self._inbox.disconnected()
                self._delays.session_ended(clock() - began)
        return _farewell(socket, FATAL_CLOSES)

    async def _serve(self, socket: ClientConnection) -> None:
        """Write and read until one of them ends."""
        both = {asyncio.create_task(self._write(socket)), asyncio.create_task(self._read(socket))}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
        for task in both:
            problem = None if task.cancelled() else task.exception()
            if problem is not None and not isinstance(problem, ConnectionClosed):
                raise problem

    async def _write(self, socket: ClientConnection) -> None:
        """Write acknowledgements and sends; end when an answer does not come in time."""

        async def write(frame: bytes) -> None:
            await socket.send(frame, text=True)

        self._has_work.set()
        with suppress(ConnectionClosed):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0 if self._outgoing.are_in_flight else None):
                        await self._has_work.wait()
                self._has_work.clear()
                # Before more is sent, so that the answered drafts in the outbox have a bound.
                await self._outgoing.forget_answered()
                await self._inbox.write_acks(write)
                await self._outgoing.write(write)
                if self._outgoing.is_overdue(ANSWER_SECONDS):
                    reason = f"no answer within {ANSWER_SECONDS:g} s"
                    await socket.close(CloseCode.NO_PROGRESS, reason)
                    return

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            match read_frame(text):
                case Message() as message:
                    self._inbox.take(message)
                case AcceptedFrame(ref, acceptance):
                    self._outgoing.accepted(ref, acceptance)
                case ErrorFrame() as refusal:
                    self._outgoing.refused(refusal)
                case Delivered() as delivered:
                    self._tell(delivered)

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)


def _farewell(
    socket: ClientConnection, final: Collection[int]
) -> tuple[str, Asked | None, Refused | None]:
    """Return why a connection ended, the time that the server asks for, and, if its code is one of
    `final`, the error that ends the chat.
    """
    code, said = socket.close_code, socket.close_reason or ""
    refusal = Refused(f"the server closed the connection: {said}") if code in final else None
    return why_closed(code, said), asked_by_reason(said), refusal
