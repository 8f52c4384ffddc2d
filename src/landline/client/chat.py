"""The chat: one user's connection that heals itself, with an outbox and an inbox.

Three rules make it safe. A draft is kept before its first try, under a `ref` of its own, and until
it is answered; a try whose answer was never seen is repeated with `retry: true`. A message is
acknowledged after the loop's body has finished. A message that comes again is acknowledged again
and not handed out again.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from itertools import count
from os import PathLike
from typing import Self
from uuid import uuid4

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from landline.client.address import read_address
from landline.client.arguments import (
    check_header_types,
    check_listener,
    check_outbox,
    check_proxy_type,
    check_seconds,
    check_text,
)
from landline.client.backoff import (
    LAST_SECONDS,
    LAST_SECONDS_HERE,
    Asked,
    Backoff,
    asked_by_reason,
)
from landline.client.dialing import (
    GOODBYE_SECONDS,
    DialFailed,
    ProxyOption,
    check_headers,
    dial,
    leaving,
)
from landline.client.errors import (
    ChatClosed,
    ClientError,
    ConnectionFailed,
    MessageRejected,
    Refused,
    SendTimeout,
    WrongUser,
)
from landline.client.events import (
    Acceptance,
    Accepted,
    Connected,
    Delivered,
    Disconnected,
    Event,
    Message,
    Rejected,
)
from landline.client.outbox import Draft, FileOutbox, Handed, MemoryOutbox, Outbox
from landline.client.reasons import why_closed
from landline.client.sends import IN_FLIGHT, RepeatLines, UnansweredSend
from landline.client.tries import Tries
from landline.client.wire import (
    AcceptedFrame,
    ErrorFrame,
    NotLandline,
    check_draft,
    read_frame,
    read_welcome,
    send_frame,
)
from landline.protocol.codes import CloseCode, ErrorCode, Outcome
from landline.protocol.identity import BadName, check_user_name
from landline.protocol.limits import ACK_IDS

CONNECT_TIMEOUT_SECONDS = 10.0
ANSWER_SECONDS = 15.0  # a send without an answer for this long: the connection is dead
WELCOME_SECONDS = 10.0
LEAVE_SECONDS = GOODBYE_SECONDS
# The code of a `Rejected` that is not the server's: the outbox could not take the draft.
NOT_KEPT = "not_kept"

_log = logging.getLogger("landline.client")

_FATAL_CLOSES = {CloseCode.POLICY, CloseCode.NOT_AUTHENTICATED, CloseCode.UNSUPPORTED}
_REPEATED_CODES = {ErrorCode.BUSY, ErrorCode.TOO_FAST}
# What only Landline's servers say. The others may also be a proxy's, before there is a session.
_OWN_CLOSES = {CloseCode.NOT_AUTHENTICATED}


class Chat:
    """A chat of one user; see `landline.connect`. Iterate over it to receive."""

    def __init__(
        self,
        url: str,
        *,
        username: str,
        outbox: str | PathLike[str] | None = None,
        connect_timeout: float | None = CONNECT_TIMEOUT_SECONDS,
        on_event: Callable[[Event], None] | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: ProxyOption = True,
    ) -> None:
        check_text("url", url)
        check_text("username", username)
        path = check_outbox(outbox)
        check_seconds("connect_timeout", connect_timeout)
        check_listener(on_event)
        check_header_types(headers)
        check_proxy_type(proxy)
        self._username = _checked(username)
        self._address = read_address(url)
        self._headers = check_headers(headers or {})
        self._proxy = proxy
        self._outbox: Outbox = (
            MemoryOutbox()
            if path is None
            else FileOutbox(path, self._username, self._address.server)
        )
        self._connect_timeout = connect_timeout
        self._on_event = on_event or (lambda _event: None)
        self._has_listener = on_event is not None
        self._sends: OrderedDict[str, UnansweredSend] = OrderedDict()
        self._unsent: deque[UnansweredSend] = deque()
        self._in_flight: OrderedDict[str, UnansweredSend] = OrderedDict()
        self._keeping: dict[UnansweredSend, asyncio.Task[None]] = {}  # on their way into the outbox
        self._handed = Handed(())
        # Bounded by the server's window: what is here is not acknowledged yet.
        self._inbox: deque[Message] = deque()
        self._held_ids: set[str] = set()
        self._current: Message | None = None
        self._acks: deque[str] = deque()
        self._unacked = 0
        self._unkept: list[str] = []  # handed, and not noted in the outbox yet
        self._answered: list[str] = []  # drafts that the outbox has not forgotten yet
        self._has_work = asyncio.Event()
        self._has_mail = asyncio.Event()
        self._is_welcome = asyncio.Event()
        self._places = count()
        self._repeats = RepeatLines(self._let_through)
        self._tries = Tries()
        self._ended: ClientError | None = None
        self._last_problem = "nobody answered"
        self._task: asyncio.Task[None] | None = None
        self._was_entered = False

    async def __aenter__(self) -> Self:
        """Connect. Raises: ConnectionFailed, Refused, OutboxInUse, ForeignOutbox."""
        if self._was_entered or self._ended is not None:
            raise ClientError(
                "a chat is opened once: get another one from landline.connect for each `async with`"
            )
        self._was_entered = True
        try:
            await self._open()
        except BaseException:  # nobody will leave what was never entered
            await self.close()
            raise
        return self

    async def _open(self) -> None:
        drafts, handed = await self._outbox.open()
        self._handed = Handed(handed)
        for draft in drafts:
            send = self._new_send(draft)
            send.is_kept = send.is_uncertain = True
            self._queue(send)
        self._task = asyncio.create_task(self._run(), name="landline-chat")
        if self._connect_timeout is None:
            return
        welcome = asyncio.create_task(self._is_welcome.wait())
        try:
            await asyncio.wait(
                {self._task, welcome},
                timeout=self._connect_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            welcome.cancel()
        if not self._is_welcome.is_set():
            raise self._ended or ConnectionFailed(
                f"cannot reach {self._address.server}: {self._last_problem}"
            )

    async def __aexit__(self, *_exc: object) -> None:
        """Leave: acknowledge what was finished, then close."""
        await self.close()

    async def close(self) -> None:
        """Send the last acknowledgements and close. Drafts in an outbox file stay there, also those
        that were on their way into it.

        Where it is cancelled while it waits, the chat is left all the same, without the rest of the
        acknowledgements, and the file is free as soon as the disk has done what was begun.
        """
        try:
            await self._finish()
        finally:
            self._leave()

    async def _finish(self) -> None:
        if self._task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS):
                    while self._is_welcome.is_set() and (self._acks or self._unacked):
                        self._has_work.set()
                        await asyncio.sleep(0.005)
            self._disconnect()
            await asyncio.wait({self._task})
        self._stop()
        await self._wait_for_kept()
        try:
            await self._keep_handed()
            await self._forget_answered()
        except ClientError:
            await self._outbox.close()
            raise
        await self._outbox.close()  # after all that was begun: its turns are in order
        await self._wait_for_kept()

    def _disconnect(self) -> None:
        if self._task is not None and not self._task.cancelling():  # it may be saying goodbye
            self._task.cancel()

    def _stop(self) -> None:
        self._disconnect()
        self._repeats.clear()
        self._end(ChatClosed("the chat was left"))

    def _leave(self) -> None:
        """Let go of everything without waiting for anything."""
        self._stop()
        self._outbox.begin_to_close()
        self._unkept.clear()
        self._answered.clear()

    # Sending ---------------------------------------------------------------------------------

    async def send(
        self,
        to: str,
        content: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it has an outcome of its own, SendTimeout
    ) -> Acceptance:
        """Send a message and return its acceptance once it is durable.

        Goes on through reconnects. Without `timeout` (seconds) it waits until there is an answer.
        Sends reach the server in the order of the calls; for a strict order within a conversation
        wait for each acceptance before the next send.

        Cancelling it does not take the message back: it may have been sent, and goes on being sent.
        So it does after `timeout`, however long the outbox file takes.

        Raises: MessageRejected; SendTimeout, and then the message stays in the outbox and goes on
        being sent; Refused and ChatClosed.
        """
        check_seconds("timeout", timeout)  # before anything is kept
        send = self.begin(to, content)
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(send.answer)
        except TimeoutError:
            self._give_up(send)
            raise SendTimeout(f"no answer within {timeout} s; it goes on being sent") from None
        except asyncio.CancelledError:
            self._give_up(send)
            raise

    def begin(self, to: str, content: str) -> UnansweredSend:
        """Begin to send, and return what is known of it at any time: `landline chat` says of each
        line what became of it, also when it ends early. Everybody else uses `send`.

        Raises: MessageRejected for what no server takes; Refused, ChatClosed.
        """
        self._check_open()
        draft = Draft(str(uuid4()), to, content)
        check_draft(draft)
        self.hurry()
        send = self._new_send(draft)
        send.is_awaited = True
        # A task of the chat's own: whoever waits for the answer may leave before it is kept.
        self._keeping[send] = asyncio.create_task(self._keep(send), name="landline-keep")
        return send

    async def _keep(self, send: UnansweredSend) -> None:
        """Keep a draft, and then let it go out."""
        try:
            await self._outbox.add(send.draft)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the answer
            del self._keeping[send]
            send.answer.set_exception(error)
            send.answer.exception()  # who has left hears of it otherwise
            if not send.is_awaited:
                self._tell_unkept(send, error)
        else:
            del self._keeping[send]
            send.is_kept = True
            self._queue(send)
            if self._ended is not None:  # meanwhile: the next chat with this outbox sends it
                send.answer.set_exception(self._ended)
                send.answer.exception()

    async def _wait_for_kept(self) -> None:
        if self._keeping:
            await asyncio.wait(self._keeping.values(), timeout=LEAVE_SECONDS)

    def _give_up(self, send: UnansweredSend) -> None:
        """Nobody waits for this answer any more, also if it has come in the same moment."""
        send.is_awaited = False
        problem = send.answer.exception() if send.answer.done() else None
        if isinstance(problem, MessageRejected):
            self._on_event(
                Rejected(send.draft.to, send.draft.content, problem.code, problem.reason)
            )
        elif problem is not None and not send.is_kept:
            self._tell_unkept(send, problem)

    def _tell_unkept(self, send: UnansweredSend, problem: BaseException) -> None:
        """A draft that could not be kept was not sent either, and nobody waits to hear that."""
        to, content = send.draft.to, send.draft.content
        if not self._has_listener:
            _log.warning("a message to %r was not sent: %s", to, problem)
            return
        try:
            self._on_event(Rejected(to, content, NOT_KEPT, str(problem)))
        except Exception as error:  # noqa: BLE001 - whatever a callback raises ends the chat
            self._end_by(error)
            if self._task is not None:
                self._task.cancel()

    def hurry(self) -> None:
        """Somebody waits: where there is no connection, try now and not when the time is over. Not
        more than once a second, and not before the time that a server asks for. A send does this.
        """
        self._tries.hurry()

    @property
    def unanswered(self) -> list[Draft]:
        """Return the drafts that have no answer yet, oldest first."""
        return [send.draft for send in (*self._sends.values(), *self._keeping)]

    # Receiving -------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Message]:
        """Begin to receive. A message whose loop body did not finish is not acknowledged: it is
        the first that the next loop gets, in this chat or in the next one.

        One loop at a time: asking for a message says that the one before is safe.
        """
        if self._current is not None:
            self._inbox.appendleft(self._current)
            self._current = None
        return self

    async def __anext__(self) -> Message:
        """Acknowledge the message before, and return the next one. Raises: Refused."""
        if self._current is not None:
            self.acknowledge(self._current)
            self._current = None
        while self._current is None:
            if self._inbox:
                message = self._inbox.popleft()
                # Acknowledged by hand, after a loop had left it.
                self._current = None if message.id in self._handed else message
                continue
            if isinstance(self._ended, ChatClosed):
                raise StopAsyncIteration
            self._check_open()
            self._has_mail.clear()
            await self._has_mail.wait()
        return self._current

    def acknowledge(self, message: Message) -> None:
        """Say that a message is safe with this client. The loop does this by itself."""
        if self._ended is None:
            self._check_open()
        if message.id in self._handed:
            return
        self._held_ids.discard(message.id)
        self._handed.add(message.id)
        self._unkept.append(message.id)
        self._acks.append(message.id)
        self._has_work.set()

    # The connection --------------------------------------------------------------------------

    async def _run(self) -> None:
        """Keep a session for as long as it is wanted. Nobody awaits this: what ends it is told to
        whoever waits for an answer or a message.
        """
        try:
            await self._keep_session()
        except ClientError as error:  # the outbox cannot be written
            self._end(error)
        except Exception as error:  # noqa: BLE001 - also what `on_event` raises
            self._end_by(error)

    async def _keep_session(self) -> None:
        backoff = Backoff()
        while self._ended is None:
            longest = LAST_SECONDS
            try:
                reason, asked = await self._session(backoff)
            except DialFailed as failure:
                reason, asked = failure.reason, failure.asked
                if failure.is_nobody_here:
                    longest = LAST_SECONDS_HERE
                if failure.is_final:
                    self._end(Refused(f"the server refused the connection: {reason}"))
            except NotLandline as error:
                # Not certainly the server: also a proxy that answers for it meanwhile.
                reason, asked = str(error), None
                _log.warning("reconnecting to %s: %s", self._address.server, reason)
            await self._forget_answered()
            self._last_problem = reason
            if self._ended is None:
                delay = backoff.next_delay(asked, longest)
                self._on_event(Disconnected(reason, delay))
                await self._tries.pause(delay, 0.0 if asked is None else asked.obeyed_seconds)

    async def _session(self, backoff: Backoff) -> tuple[str, Asked | None]:
        """Serve one connection. Returns why it ended, and what the server asks for."""
        clock = asyncio.get_running_loop().time
        socket = await dial(self._address, self._username, self._headers, self._proxy)
        async with leaving(socket):
            try:
                async with asyncio.timeout(WELCOME_SECONDS):
                    welcome = read_welcome(await socket.recv())
            except TimeoutError:
                reason = f"no welcome within {WELCOME_SECONDS:g} s"
                await socket.close(CloseCode.NO_PROGRESS, reason)
                return reason, None
            except ConnectionClosed:
                return self._farewell(socket, _OWN_CLOSES)
            if welcome.user != self._username:
                raise WrongUser(self._username, welcome.user)
            began = clock()
            self._is_welcome.set()
            self._on_event(Connected(welcome.server, welcome.session))
            self._unsent = deque(self._sends.values())
            try:
                await self._serve(socket)
            finally:
                self._is_welcome.clear()
                self._lose_flights()
                backoff.session_ended(clock() - began)
        return self._farewell(socket, _FATAL_CLOSES)

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

    def _farewell(
        self, socket: ClientConnection, final: Collection[int]
    ) -> tuple[str, Asked | None]:
        """Return what a connection's end says, and stay away if its code is `final`."""
        code, said = socket.close_code, socket.close_reason or ""
        if code in final:
            self._end(Refused(f"the server closed the connection: {said}"))
        return why_closed(code, said), asked_by_reason(said)

    def _lose_flights(self) -> None:
        """The connection is gone: what was not answered may be in the log; acks are void."""
        for send in self._in_flight.values():
            send.is_uncertain = True
            send.sent_at = None
        self._in_flight.clear()
        self._repeats.clear()
        self._acks.clear()
        self._unacked = 0
        # What was not handed out yet comes again; keep the copy that is here.

    async def _write(self, socket: ClientConnection) -> None:
        """Write acknowledgements and sends; end when an answer does not come in time."""
        loop = asyncio.get_running_loop()
        self._has_work.set()
        with suppress(ConnectionClosed):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0 if self._in_flight else None):
                        await self._has_work.wait()
                self._has_work.clear()
                # Before more is sent: what is answered and not forgotten has a bound, too.
                await self._forget_answered()
                await self._write_acks(socket)
                while self._unsent and len(self._in_flight) < IN_FLIGHT:
                    send = self._unsent.popleft()
                    if not self._repeats.holds_back(send):
                        await self._write_send(socket, send, loop.time())
                if self._is_answer_overdue(loop.time()):
                    reason = f"no answer within {ANSWER_SECONDS:g} s"
                    await socket.close(CloseCode.NO_PROGRESS, reason)
                    return

    async def _write_acks(self, socket: ClientConnection) -> None:
        while self._acks:
            ids = [self._acks.popleft() for _ in range(min(ACK_IDS, len(self._acks)))]
            self._unacked = len(ids)
            await self._keep_handed()
            await socket.send(orjson.dumps({"type": "ack", "ids": ids}), text=True)
            self._unacked = 0

    async def _keep_handed(self) -> None:
        """Note in the outbox what was handed: before the server forgets it, this side knows."""
        if self._unkept:
            ids = self._unkept.copy()
            await self._outbox.hand(ids)  # may be cancelled: then they are still unkept
            del self._unkept[: len(ids)]

    async def _forget_answered(self) -> None:
        """Take out of the outbox what has come to be answered, all at once."""
        if self._answered:
            refs = self._answered.copy()
            await self._outbox.remove(refs)  # may be cancelled: then it is done once more
            del self._answered[: len(refs)]

    async def _write_send(self, socket: ClientConnection, send: UnansweredSend, now: float) -> None:
        draft = send.draft
        if draft.ref not in self._sends:
            return
        send.sent_at = now
        self._in_flight[draft.ref] = send
        await socket.send(send_frame(draft, retry=send.is_uncertain), text=True)

    def _is_answer_overdue(self, now: float) -> bool:
        oldest = next(iter(self._in_flight.values()), None)
        return (
            oldest is not None
            and oldest.sent_at is not None
            and now - oldest.sent_at > ANSWER_SECONDS
        )

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            match read_frame(text):
                case Message() as message:
                    self._take_message(message)
                case AcceptedFrame(ref, acceptance):
                    self._take_acceptance(ref, acceptance)
                case ErrorFrame() as refusal:
                    self._take_refusal(refusal)
                case Delivered() as delivered:
                    self._on_event(delivered)

    def _take_message(self, message: Message) -> None:
        if message.id in self._handed:
            self._acks.append(message.id)
            self._has_work.set()
        elif message.id not in self._held_ids:
            self._held_ids.add(message.id)
            self._inbox.append(message)
            self._has_mail.set()

    def _take_acceptance(self, ref: str | None, acceptance: Acceptance) -> None:
        send = self._settle(ref, is_forgotten=False)
        if send is None:
            return
        # First of all the answer: what comes after may fail, or be cancelled with the connection.
        if not send.answer.done():
            send.answer.set_result(acceptance)
        # The outbox forgets it only after this: a program that notes it elsewhere misses nothing.
        self._on_event(Accepted(send.draft.to, send.draft.content, acceptance))
        self._answered.append(send.draft.ref)
        self._has_work.set()

    def _take_refusal(self, refusal: ErrorFrame) -> None:
        send = self._in_flight.get(refusal.ref or "")
        if send is None:
            return
        if refusal.outcome == Outcome.REJECTED and refusal.code not in _REPEATED_CODES:
            self._reject(send, refusal.code, refusal.reason)
            return
        if refusal.outcome != Outcome.REJECTED:
            send.is_uncertain = True
        del self._in_flight[send.draft.ref]
        self._repeats.refused(send, refusal.asked_seconds)
        self._has_work.set()

    def _reject(self, send: UnansweredSend, code: str, reason: str) -> None:
        """A draft will never be in the log. Somebody hears of it, or it is not forgotten."""
        draft = send.draft
        if not send.is_awaited:
            if self._has_listener:
                # First of all this: when it raises, the draft is still kept.
                self._on_event(Rejected(draft.to, draft.content, code, reason))
            else:
                _log.warning("a kept message to %r was rejected: %s: %s", draft.to, code, reason)
        self._settle(draft.ref, is_forgotten=send.is_awaited or self._has_listener)
        if not send.answer.done():
            send.answer.set_exception(MessageRejected(code, reason))
            send.answer.exception()  # who has left hears of it otherwise

    def _let_through(self, send: UnansweredSend) -> None:
        """It is a send's turn to be tried again."""
        self._unsent.append(send)
        self._has_work.set()

    def _settle(self, ref: str | None, *, is_forgotten: bool = True) -> UnansweredSend | None:
        """A draft is answered: return its send, for the last time."""
        send = self._sends.pop(ref or "", None)
        self._in_flight.pop(ref or "", None)
        if send is not None:
            if is_forgotten:
                self._answered.append(send.draft.ref)
            self._repeats.answered(send)
        self._has_work.set()
        return send

    def _new_send(self, draft: Draft) -> UnansweredSend:
        answer: asyncio.Future[Acceptance] = asyncio.get_running_loop().create_future()
        return UnansweredSend(draft, answer, next(self._places))

    def _queue(self, send: UnansweredSend) -> None:
        self._sends[send.draft.ref] = send
        self._unsent.append(send)
        self._has_work.set()

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended
        if self._task is None:
            raise ClientError(
                "the chat is not open: use it inside `async with landline.connect(...) as chat:`"
            )

    def _end_by(self, error: Exception) -> None:
        problem = ClientError(f"the chat cannot go on: {error!r}")
        problem.__cause__ = error
        self._end(problem)

    def _end(self, problem: ClientError) -> None:
        """End for good: everybody who waits hears why."""
        self._ended = self._ended or problem
        self._has_mail.set()
        for send in self._sends.values():
            if not send.answer.done():
                send.answer.set_exception(self._ended)
                send.answer.exception()


def _checked(username: str) -> str:
    try:
        return check_user_name(username)
    except BadName as error:
        raise Refused(f"{username!r} cannot be a user: {error}") from None
