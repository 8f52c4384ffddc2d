"""The chat: one user's connection that is replaced when it is lost, with an outbox and an inbox.

Three rules make it safe. A draft is kept before its first try, under a `ref` of its own, and until
it is answered; a try whose answer was never seen is repeated with `retry: true`. A message is
acknowledged after the loop's body has finished. A message that comes again is acknowledged again
and not handed out again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from os import PathLike
from typing import Any, Self
from uuid import uuid4

from landline.client.address import read_address
from landline.client.arguments import (
    check_device,
    check_header_types,
    check_listener,
    check_outbox,
    check_proxy_type,
    check_seconds,
    check_text,
    check_token_type,
)
from landline.client.conversations import Answer
from landline.client.credentials import Credentials, TokenSource
from landline.client.dialing import (
    GOODBYE_SECONDS,
    DialTarget,
    ProxyOption,
    check_headers,
)
from landline.client.errors import ChatClosed, ClientError, ConnectionFailed, Refused, SendTimeout
from landline.client.events import Acceptance, Disconnected, Event, Message
from landline.client.inbox import Inbox, RoomEvent
from landline.client.link import Link
from landline.client.outbox import Draft, FileOutbox, MemoryOutbox, Outbox
from landline.client.outgoing import Outgoing
from landline.client.reading import Reading
from landline.client.repeats import UnansweredSend
from landline.client.rooms import RoomsAndReading
from landline.client.wire import check_draft, copied
from landline.protocol.identity import BadName, check_user_name

CONNECT_TIMEOUT_SECONDS = 10.0
LEAVE_SECONDS = GOODBYE_SECONDS

_log = logging.getLogger("landline.client")


class Chat(RoomsAndReading):
    """A chat of one user; see `landline.connect`. Iterate over it to receive."""

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        token: TokenSource | None = None,
        device: str | None = None,
        outbox: str | PathLike[str] | None = None,
        connect_timeout: float | None = CONNECT_TIMEOUT_SECONDS,
        on_event: Callable[[Event], None] | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: ProxyOption = True,
    ) -> None:
        check_text("url", url)
        if username is not None:
            check_text("username", username)
        check_token_type(token)
        if username is None and token is None:
            raise TypeError("`username` must be given, or `token`, which says who you are")
        check_device(device)
        path = check_outbox(outbox)
        check_seconds("connect_timeout", connect_timeout)
        check_listener(on_event)
        check_header_types(headers)
        check_proxy_type(proxy)
        self._target = DialTarget(
            username=None if username is None else _checked(username),
            address=read_address(url),
            headers=check_headers(headers or {}, has_token=token is not None),
            proxy=proxy,
            device=device,
        )
        self._outbox: Outbox = (
            MemoryOutbox()
            if path is None
            else FileOutbox(path, username, self._target.address.server)
        )
        self._connect_timeout = connect_timeout
        has_work = asyncio.Event()
        self._inbox = Inbox(self._outbox, has_work, self._tell_of_room)
        self._outgoing = Outgoing(self._outbox, on_event, self._fail, has_work)
        self._reading = Reading(has_work)
        self._link = Link(
            self._target,
            Credentials(token),
            self._outbox,
            self._inbox,
            self._outgoing,
            reading=self._reading,
            on_event=on_event,
            has_work=has_work,
        )
        self._has_work = has_work
        self._on_event = on_event
        self._ended: ClientError | None = None
        self._task: asyncio.Task[None] | None = None
        self._was_entered = False
        self._is_open = False
        self._was_cancelled = False

    async def __aenter__(self) -> Self:
        """Connect. Raises: ConnectionFailed, Refused, OutboxInUse, ForeignOutbox."""
        if self._was_entered or self._ended is not None:
            raise ClientError(
                "a chat is opened once: get another one from landline.connect for each `async with`"
            )
        self._was_entered = True
        try:
            await self._open()
        except BaseException:  # `async with` does not leave what it has not entered
            await self.close()
            raise
        self._is_open = True
        return self

    async def _open(self) -> None:
        drafts, handed = await self._outbox.open()
        self._inbox.remember(handed)
        self._outgoing.take_over(drafts)
        self._task = asyncio.create_task(self._run(), name="landline-chat")
        if self._connect_timeout is None:
            return
        welcome = asyncio.create_task(self._link.wait_until_up())
        try:
            await asyncio.wait(
                {self._task, welcome},
                timeout=self._connect_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            welcome.cancel()
        if not self._link.is_up:
            raise self._ended or ConnectionFailed(
                f"cannot reach {self._target.address.server}: {self._link.last_problem}"
            ) from self._link.last_error

    async def __aexit__(self, *_exc: object) -> None:
        """Leave: acknowledge what was finished, then close."""
        await self.close()

    async def close(self) -> None:
        """Send the last acknowledgements and close. Drafts in an outbox file stay there, also those
        that were on their way into it.

        If it is cancelled while it waits, the chat is left all the same, without the rest of the
        acknowledgements. The file is free as soon as the disk has done what was begun.
        """
        self._is_open = False
        try:
            await self._finish()
        finally:
            self._leave()

    async def _finish(self) -> None:
        if self._task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS):
                    while self._link.is_up and self._inbox.has_acks:
                        self._has_work.set()
                        await asyncio.sleep(0.005)
            self._disconnect()
            await asyncio.wait({self._task})
        self._stop()
        await self._outgoing.wait_for_kept(LEAVE_SECONDS)
        try:
            await self._inbox.keep_handed()
            await self._outgoing.forget_answered()
        except ClientError:
            await self._outbox.close()
            raise
        await self._outbox.close()  # after all that was begun: it works in order
        await self._outgoing.wait_for_kept(LEAVE_SECONDS)

    def _disconnect(self) -> None:
        """Cancel the task, once: it may be saying goodbye.

        Its own `cancelling` does not tell: it also counts a timeout of the task that is just over.
        """
        if self._task is not None and not self._was_cancelled:
            self._was_cancelled = True
            self._task.cancel()

    def _stop(self) -> None:
        self._disconnect()
        self._outgoing.stop()
        self._end(ChatClosed("the chat was left"))

    def _leave(self) -> None:
        """Let go of everything without waiting for anything."""
        self._stop()
        self._outbox.begin_to_close()
        self._inbox.let_go()
        self._outgoing.let_go()

    @property
    def username(self) -> str | None:
        """Return whose chat this is; None before the first session if only a token says it."""
        return self._link.user

    @property
    def device(self) -> str | None:
        """Return the device of the last session, as the server says it. None before the first one,
        for a chat without a device, and where the server knows no devices.
        """
        return self._link.device

    @property
    def is_new(self) -> bool | None:
        """Say whether the device began with the last session, so that what is older was not owed
        to it. None without a device, and if the server did not know in time.
        """
        return self._link.is_new

    @property
    def problem(self) -> ClientError | None:
        """Return what has ended the chat for good, None while it goes on."""
        return self._ended

    # Sending ---------------------------------------------------------------------------------

    async def send(
        self,
        to: str,
        content: str,
        data: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it has an outcome of its own, SendTimeout
    ) -> Acceptance:
        """Send a message and return its acceptance once it is durable.

        `to`: a user, or a conversation, `room:...` or `dm:...`. `data`: a JSON object that goes
        with it.

        Goes on through reconnects. Without `timeout` (seconds) it waits until there is an answer.
        Sends reach the server in the order of the calls; for a strict order within a conversation
        wait for each acceptance before the next send.

        Cancelling it does not take the message back: it may have been sent, and goes on being sent.
        The same is true after `timeout`, however long the outbox file takes.

        Raises: MessageRejected; SendTimeout, and then the message stays in the outbox and goes on
        being sent; Refused and ChatClosed.
        """
        check_seconds("timeout", timeout)  # before anything is kept
        send = self.begin(to, content, data)
        try:
            async with asyncio.timeout(timeout):
                return await self._answer(send)
        except TimeoutError:
            raise SendTimeout(f"no answer within {timeout} s; it goes on being sent") from None

    async def _answer(self, send: UnansweredSend) -> Acceptance:
        try:
            return await asyncio.shield(send.answer)
        except asyncio.CancelledError:
            self._outgoing.give_up(send)
            raise

    def begin(self, to: str, content: str, data: Mapping[str, Any] | None = None) -> UnansweredSend:
        """Begin to send. What it returns says at any time how far the message has come.

        `landline chat` says that of each line, even if it ends early. Other programs use `send`.

        Raises: MessageRejected for what no server takes; Refused, ChatClosed.
        """
        return self._begin(to, content, data=data)

    def _begin(self, to: str, content: str, **fields: Mapping[str, Any] | None) -> UnansweredSend:
        self._check_open()
        given = {name: copied(each) for name, each in fields.items() if each is not None}
        draft = Draft(str(uuid4()), to, content, **given)
        check_draft(draft)
        self.hurry()
        return self._outgoing.begin(draft)

    async def _change(self, room: str, change: Mapping[str, Any]) -> Acceptance:
        check_text("room", room)
        return await self._answer(self._begin(room, "", change=change))

    async def read(self, conversation: str, offset: int) -> None:
        """Say that the person has seen everything of a conversation up to `offset`. Returns when
        that is durable. Until then it is in memory alone, and is repeated.
        """
        self._check_open()
        self.hurry()
        await self._reading.mark(conversation, offset)

    async def _ask(self, kind: str, **fields: object) -> Answer:
        self._check_open()
        self.hurry()
        return await self._reading.ask(kind, fields)

    def hurry(self) -> None:
        """Try to connect now if there is no connection. `send` does this.

        At most once a second, and not before the time that a server asks for.
        """
        self._link.hurry()

    @property
    def unanswered(self) -> list[Draft]:
        """Return the drafts that have no answer yet, oldest first."""
        return self._outgoing.unanswered

    # Receiving -------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Message]:
        """Begin to receive. A message whose loop body did not finish is not acknowledged. The next
        loop gets it first, in this chat or in the next one.

        One loop at a time: asking for a message says that the one before is safe.
        """
        self._inbox.begin_loop()
        return self

    async def __anext__(self) -> Message:
        """Acknowledge the message before, and return the next one. Raises: Refused."""
        if self._inbox.current is not None:
            self.acknowledge(self._inbox.current)
        while (message := self._inbox.next()) is None:
            if isinstance(self._ended, ChatClosed):
                raise StopAsyncIteration
            self._check_open()
            await self._inbox.wait()
        return message

    def acknowledge(self, message: Message) -> None:
        """Say that a message is safe with this client. The loop does this by itself."""
        if self._ended is None:
            self._check_open()
        self._inbox.acknowledge(message)

    # The end ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Keep a session while the chat is open. Nothing awaits this: the problem that ends it is
        raised where an answer or a message is awaited.
        """
        try:
            await self._link.run()
        except ClientError as error:  # refused, or the outbox cannot be written
            # Those who wait are told by what is raised: they are counted first.
            is_heard = self._inbox.is_awaited or self._outgoing.are_awaited
            self._end(error)
            self._tell_end(error, is_heard=is_heard)
        except Exception as error:  # noqa: BLE001 - also what `on_event` raises
            self._end_by(error)

    def _tell_end(self, problem: ClientError, *, is_heard: bool) -> None:
        """A program that waits neither for an answer nor for a message hears of the end so."""
        if self._ended is not problem or self._was_cancelled or not self._is_open:
            return  # it is being left, or was not entered: then the caller hears of it
        if self._on_event is None:
            if not is_heard:
                _log.warning("the chat has ended: %s", problem)
            return
        try:
            self._on_event(Disconnected(str(problem), None))
        except Exception:  # noqa: BLE001 - it has ended already, and no caller would hear of this
            _log.exception("`on_event` failed when it was told that the chat has ended")

    def _tell_of_room(self, event: RoomEvent) -> bool:
        """Tell the program of an event. Returns whether it could take it."""
        try:
            if self._on_event is not None:
                self._on_event(event)
        except Exception as error:  # noqa: BLE001 - anything that a callback raises ends the chat
            self._fail(error)
            return False
        return True

    def _fail(self, error: Exception) -> None:
        """Something was raised where no caller would hear of it."""
        self._end_by(error)
        self._disconnect()

    def _end_by(self, error: Exception) -> None:
        problem = ClientError(f"the chat cannot go on: {error!r}")
        problem.__cause__ = error
        if self._ended is None:
            _log.warning("the chat has ended: %s", problem)
        self._end(problem)

    def _end(self, problem: ClientError) -> None:
        """End for good: all that wait for an answer or a message get the problem."""
        self._ended = self._ended or problem
        self._inbox.wake()
        self._outbox.disclaim(self._ended)
        self._outgoing.end(self._ended)
        self._reading.end(self._ended)

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended
        if self._task is None:
            raise ClientError(
                "the chat is not open: use it inside `async with landline.connect(...) as chat:`"
            )


def _checked(username: str) -> str:
    try:
        return check_user_name(username)
    except BadName as error:
        raise Refused(f"{username!r} cannot be a user: {error}") from None
