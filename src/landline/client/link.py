"""The link to the server: one connection after another, for as long as the chat is open."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from landline.client.credentials import Credentials, Token
from landline.client.dialing import DialFailed, DialTarget, dial, leaving
from landline.client.errors import ClosedByAdministrator, Refused, TokenUnavailable, WrongUser
from landline.client.events import (
    Connected,
    Delivered,
    Disconnected,
    Event,
    MemberChanged,
    Message,
    Read,
    RoomChanged,
)
from landline.client.inbox import Inbox
from landline.client.outbox import Outbox
from landline.client.outgoing import Outgoing
from landline.client.reading import Reading
from landline.client.reasons import why_closed
from landline.client.reconnecting import (
    LAST_SECONDS,
    LAST_SECONDS_HERE,
    Asked,
    ReconnectDelays,
    asked_by_reason,
)
from landline.client.renewal import Renewal
from landline.client.timeline import NotLandline
from landline.client.tries import Tries
from landline.client.wire import (
    AcceptedFrame,
    Answered,
    Authenticated,
    ErrorFrame,
    Welcome,
    read_frame,
    read_welcome,
)
from landline.protocol.codes import CloseCode, ErrorCode

# Without an answer to a send, or without any to questions, for this long the connection is dead.
ANSWER_SECONDS = 15.0
WELCOME_SECONDS = 10.0

# What only Landline's servers say. The others may also be a proxy's, before there is a session.
_OWN_CLOSES = {CloseCode.NOT_AUTHENTICATED, CloseCode.FORBIDDEN}
FATAL_CLOSES = {CloseCode.POLICY, CloseCode.UNSUPPORTED, *_OWN_CLOSES}

_log = logging.getLogger("landline.client")


class Link:
    """Keeps a session with the server, and carries what inbox and outgoing have for it."""

    def __init__(
        self,
        target: DialTarget,
        credentials: Credentials,
        outbox: Outbox,
        inbox: Inbox,
        outgoing: Outgoing,
        *,
        reading: Reading,
        on_event: Callable[[Event], None] | None,
        has_work: asyncio.Event,
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._outbox = outbox
        self._inbox = inbox
        self._outgoing = outgoing
        self._reading = reading
        self._on_event = on_event
        self._has_work = has_work
        self._delays = ReconnectDelays()
        self._tries = Tries()
        self._is_welcome = asyncio.Event()
        self.user = target.username  # if a token says it, that of the first session
        self.device: str | None = None  # these two as the last session's server says
        self.is_new: bool | None = None
        self.last_problem = "nobody answered"
        self.last_error: Exception | None = None

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
        clock = asyncio.get_running_loop().time
        while True:
            refusal, longest, self.last_error = None, LAST_SECONDS, None
            try:
                reason, asked, refusal = await self._session()
            except TokenUnavailable as error:
                reason, asked, self.last_error = str(error), None, error
            except DialFailed as failure:
                reason, asked = failure.reason, failure.asked
                if failure.is_nobody_here:
                    longest = LAST_SECONDS_HERE
                if failure.is_unauthenticated and self._credentials:
                    refusal = self._credentials.refused(reason, clock())
                elif failure.is_closed:
                    refusal = ClosedByAdministrator(
                        f"the server does not let this user in: {reason}"
                    )
                elif failure.is_final:
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
        token = await self._credentials.token()
        socket = await dial(self._target, token)
        async with leaving(socket):
            try:
                async with asyncio.timeout(WELCOME_SECONDS):
                    welcome = read_welcome(await socket.recv())
            except TimeoutError:
                reason = f"no welcome within {WELCOME_SECONDS:g} s"
                await socket.close(CloseCode.NO_PROGRESS, reason)
                return reason, None, None
            except ConnectionClosed:
                return self._farewell(socket, _OWN_CLOSES)
            await self._begin(welcome)
            began = clock()
            self._is_welcome.set()
            self._tell(Connected(welcome.server, welcome.session))
            self._outgoing.connected()
            self._reading.connected()
            try:
                await self._serve(socket, token)
            finally:
                self._is_welcome.clear()
                self._outgoing.disconnected()
                self._reading.disconnected()
                self._inbox.disconnected()
                self._delays.session_ended(clock() - began)
        return self._farewell(socket, FATAL_CLOSES)

    async def _begin(self, welcome: Welcome) -> None:
        """Make sure that a session is that of the one user of this chat, before it is used."""
        self._credentials.taken()
        if self.user is not None and self.user != welcome.user:
            raise WrongUser(self.user, welcome.user)
        await self._outbox.claim(welcome.user)
        self.user = welcome.user
        self.device, self.is_new = welcome.device, welcome.is_new

    async def _serve(self, socket: ClientConnection, token: Token | None) -> None:
        """Write and read until one of them ends; renew the session meanwhile."""

        async def write(frame: bytes) -> None:
            await socket.send(frame, text=True)

        renewal = Renewal(self._credentials, token, write)
        tasks = {
            asyncio.create_task(self._write(socket, write)),
            asyncio.create_task(self._read(socket, renewal)),
            asyncio.create_task(_until_it_fails(renewal)),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            problem = None if task.cancelled() else task.exception()
            if problem is not None and not isinstance(problem, ConnectionClosed):
                raise problem

    async def _write(
        self, socket: ClientConnection, write: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Write acknowledgements and sends; end when an answer does not come in time."""
        self._has_work.set()
        with suppress(ConnectionClosed):
            while True:
                are_owed = self._outgoing.are_in_flight or self._reading.are_in_flight
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0 if are_owed else None):
                        await self._has_work.wait()
                self._has_work.clear()
                # Before more is sent, so that the answered drafts in the outbox have a bound.
                await self._outgoing.forget_answered()
                await self._inbox.write_acks(write)
                await self._outgoing.write(write)
                await self._reading.write(write)
                is_overdue = self._outgoing.is_overdue(ANSWER_SECONDS)
                if is_overdue or self._reading.is_overdue(ANSWER_SECONDS):
                    reason = f"no answer within {ANSWER_SECONDS:g} s"
                    await socket.close(CloseCode.NO_PROGRESS, reason)
                    return

    async def _read(self, socket: ClientConnection, renewal: Renewal) -> None:
        async for text in socket:
            match read_frame(text, self.user):
                case Message() | MemberChanged() | RoomChanged() as owed:
                    self._inbox.take(owed)
                case AcceptedFrame(ref, acceptance):
                    self._outgoing.accepted(ref, acceptance)
                case ErrorFrame(request=None, ref=None, code=ErrorCode.UNKNOWN_TYPE):
                    self._reading.not_understood()
                    self._outgoing.not_understood()
                case ErrorFrame(request=None, ref=None, conversation=None, outcome=None):
                    renewal.answered(is_taken=False)
                case ErrorFrame(ref=None) as refusal:
                    self._reading.refused(refusal)
                case ErrorFrame() as refusal:
                    self._outgoing.refused(refusal)
                case Authenticated():
                    renewal.answered(is_taken=True)
                case Delivered() as delivered:
                    self._tell(delivered)
                case Answered(request, answer):
                    self._reading.answered(request, answer)
                case Read() as read:
                    self._reading.was_read(read, self.user)
                    self._tell(read)

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def _farewell(
        self, socket: ClientConnection, final: Collection[int]
    ) -> tuple[str, Asked | None, Refused | None]:
        """Return why a connection ended, the time that the server asks for, and, if its code is one
        of `final`, the error that ends the chat.
        """
        code, said = socket.close_code, socket.close_reason or ""
        refusal = None
        if code == CloseCode.NOT_AUTHENTICATED:
            now = asyncio.get_running_loop().time()
            refusal = self._credentials.refused(said or "not authenticated", now)
        elif code == CloseCode.FORBIDDEN:
            refusal = ClosedByAdministrator(f"an administrator closed the connection: {said}")
        elif code in final:
            refusal = Refused(f"the server closed the connection: {said}")
        return why_closed(code, said), asked_by_reason(said), refusal


async def _until_it_fails(renewal: Renewal) -> None:
    """Renew; the session goes on if there is nothing to renew."""
    await renewal.run()
    await asyncio.Event().wait()
