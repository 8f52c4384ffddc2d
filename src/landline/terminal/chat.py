"""The chat: each line becomes a send, and the screen says what became of it."""

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, TypeVar

from landline.client import (
    Accepted,
    Chat,
    ClientError,
    Connected,
    Delivered,
    Disconnected,
    Event,
    MemberChanged,
    Message,
    MessageRejected,
    MessageUncertain,
    OutboxInUse,
    Rejected,
    RoomChanged,
    connect,
)
from landline.client.repeats import UnansweredSend
from landline.protocol.identity import BadName, check_user_name
from landline.terminal.files import default_outbox, left_without_device, take_over
from landline.terminal.left import REASON_CHARACTERS, Left, beginning
from landline.terminal.lines import Input, Line
from landline.terminal.questions import Questions
from landline.terminal.rooms import RoomNames, what_happened
from landline.terminal.screen import Screen, harmless
from landline.terminal.signals import ended_by_signals
from landline.terminal.token_file import TokenFile

T = TypeVar("T")

# How long it goes on without any answer: after the end of the input, and if there is no room for
# the next line of a pipe.
LAST_ANSWERS_SECONDS = 15.0
# How long a pipe waits for another chat of the same user, which has the unsent lines, to end. One
# that gets no answers ends before that.
OUTBOX_SECONDS = LAST_ANSWERS_SECONDS + 5.0
OUTBOX_LOOK_SECONDS = 0.1
# Lines that wait for their answers at a time; no more are read until then.
LINES_UNDER_WAY = 1_000
# Own lines that are remembered for their second tick; older ones do not show it.
REMEMBERED_LINES = 1_000

HELP = """\
type a line and press Enter to send it
/to NAME   talk to somebody else
/room NAME talk in a room of yours: its title, or the beginning of its id
/rooms     your rooms, and how much of each is unread
/history   what was said here before; once more shows what came before that
/members   who is here
/read      you have seen what was shown here: nothing of it is unread any more
/quit      leave (Ctrl-D too)
/help      this text
//text     send a line that begins with a slash: /text
{0.accepted} accepted: it is safe    {0.delivered} delivered: the other side has it    \
{0.refused} not sent"""


async def run_chat(
    url: str,
    username: str,
    to: str | None,
    outbox: Path | None,
    *,
    token: TokenFile | None = None,
    device: str | None = None,
) -> int:
    """Chat until the input ends.

    Returns the exit code: 0 if everything was accepted, 1 if not, and 128 plus its number if a
    signal ended it. Raises: ClientError if there can be no chat at all.
    """
    with ended_by_signals() as ended_by:
        try:
            return await _run_chat(url, username, to, outbox, token=token, device=device)
        except asyncio.CancelledError:
            if not ended_by:
                raise
            return 128 + ended_by[0]


async def _run_chat(
    url: str,
    username: str,
    to: str | None,
    outbox: Path | None,
    *,
    token: TokenFile | None,
    device: str | None,
) -> int:
    terminal = Terminal(to, Input(sys.stdin), Screen(sys.stdout), sys.stderr, device)
    loop = asyncio.get_running_loop()
    until = loop.time() + (0.0 if terminal.is_for_people else OUTBOX_SECONDS)
    problem: str | None = None
    try:
        while True:
            try:
                return await _chat_once(url, username, outbox, terminal, token=token, device=device)
            except OutboxInUse as error:
                is_first = problem is None
                problem = (
                    f"{error}: only one `landline chat` of {harmless(username)} at this address"
                    f"{_with(device)} can run at a time. Nothing of the input was sent or kept; try"
                    " again when the other one has ended"
                )
                if loop.time() >= until:
                    raise ClientError(problem) from error
                if is_first:
                    terminal.wait_for_another(OUTBOX_SECONDS)
            await asyncio.sleep(OUTBOX_LOOK_SECONDS)
    except asyncio.CancelledError:
        if problem is not None and not terminal.has_begun:
            terminal.say(problem)
        raise


async def _chat_once(
    url: str,
    username: str,
    outbox: Path | None,
    terminal: "Terminal",
    *,
    token: TokenFile | None,
    device: str | None,
) -> int:
    if outbox is None:
        outbox = default_outbox(url, username, device)
        note = await asyncio.to_thread(take_over, url, username, outbox)
        if note is not None:
            terminal.say(note)
        if device is not None:
            note = await asyncio.to_thread(left_without_device, url, username)
            if note is not None:
                terminal.say(note)
    chat = connect(
        url,
        username=username,
        token=token,
        device=device,
        outbox=outbox,
        connect_timeout=None,  # lines that are typed before there is a server go out later
        on_event=terminal.show_event,
    )
    return await terminal.run(chat)


class Terminal:
    """Shows a chat and reads its lines."""

    def __init__(
        self,
        partner: str | None,
        lines: Input,
        screen: Screen,
        errors: TextIO | None,
        device: str | None = None,
    ) -> None:
        self._next_chat = f"your next chat at this address{_with(device)}"
        self._partner = partner
        self._lines = lines
        self._screen = screen
        self._errors = errors
        self._ticks: dict[str, str] = {}
        self._rooms = RoomNames()
        self._questions = Questions(self._rooms, screen.marks)
        # By their numbers, without an answer.
        self._open: dict[int, tuple[Line, UnansweredSend]] = {}
        self._left = Left()
        self._news = asyncio.Event()
        self._is_connected: bool | None = None
        self._said: set[str] = set()
        self.has_begun = False  # the chat was entered

    @property
    def is_for_people(self) -> bool:
        """Say whether a person types the lines."""
        return self._lines.is_terminal

    def say(self, text: str) -> None:
        """Say something on standard error, once only."""
        if text not in self._said and self._errors is not None:
            self._said.add(text)
            with suppress(OSError):
                print(f"landline: {harmless(text)}", file=self._errors, flush=True)

    def wait_for_another(self, seconds: float) -> None:
        """Show that another chat has to end first."""
        self._screen.show(f"-- waiting up to {seconds:g} s for another chat of yours to end")

    async def run(self, chat: Chat) -> int:
        """Chat until the input ends, then wait for the last answers. At the end it says which lines
        were not accepted. Raises: ClientError.
        """
        self._lines.start()
        try:
            async with chat:
                self.has_begun = True
                await self._chat(chat)
        except* ClientError as group:
            raise group.exceptions[0] from None
        finally:
            if self.has_begun:
                # After the chat is closed: until then answers come and lines are kept. A signal may
                # have come while it was being closed.
                with suppress(ClientError):
                    await chat.close()
                self._note_left(chat)
            self._tell_left()
        return 1 if self._left else 0

    async def _chat(self, chat: Chat) -> None:
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(self._receive(chat))
            if chat.unanswered:
                count = len(chat.unanswered)
                lines = "1 unsent line" if count == 1 else f"{count} unsent lines"
                self._screen.show(f"-- sending {lines} of last time")
            if self._partner is None:
                self._screen.show("-- say whom to talk to: /to NAME")
            taking = tasks.create_task(self._take_lines(chat))
            watching = tasks.create_task(self._watch_screen(receiving, taking))
            await asyncio.wait({taking})
            is_over = (
                taking.cancelled()
                or taking.exception() is not None
                or self._left.unread is not None
            )
            if not is_over:
                await self._wait_for_answers(chat)
            for task in (receiving, watching):
                task.cancel()

    def show_event(self, event: Event) -> None:
        """Show what the chat tells."""
        match event:
            case Connected():
                if self._is_connected is not True:
                    self._screen.show("-- connected")
                self._is_connected = True
            case Disconnected(retry_seconds=None):
                pass  # it ends with that sentence
            case Disconnected(reason=reason):
                if self._is_connected is not False:
                    what = "connecting" if self._is_connected is None else "reconnecting"
                    self._screen.show(f"-- {what} ({harmless(reason)})")
                self._is_connected = False
            case Accepted(kind=kind) if kind != "send":
                self._news.set()  # another program has left it in the outbox: it is no line
            case Accepted(content=content, acceptance=acceptance):
                self._screen.show(f"{self._screen.marks.accepted} {harmless(content)}")
                self._news.set()
                self._remember(acceptance.id, content)
            case Rejected(to=to, content=content, code=code, reason=reason):
                doubt = "" if event.is_certain else " (or sent already)"
                why = f"of an earlier time, to {to}: {code}: {reason}{doubt}"
                self._refuse(Line(0, content), why)
                self._news.set()
            case MemberChanged() | RoomChanged():
                room = self._rooms.note(event)
                self._screen.show(f"-- {harmless(f'{room}: {what_happened(event)}')}")
            case Delivered(ids=ids):
                for id in ids:
                    if id in self._ticks:
                        content = harmless(self._ticks.pop(id))
                        self._screen.show(f"{self._screen.marks.delivered} {content}")

    def _remember(self, id: str, content: str) -> None:
        """Remember an own line, for its second tick."""
        self._ticks[id] = content
        if len(self._ticks) > REMEMBERED_LINES:
            del self._ticks[next(iter(self._ticks))]

    # Sending ---------------------------------------------------------------------------------

    async def _take_lines(self, chat: Chat) -> None:
        while (line := await self._lines.next()) is not None:
            if self._lines.is_terminal:
                chat.hurry()  # a person who presses Enter looks at the screen
            if line.problem is not None:
                self._refuse(line, line.problem)
            elif line.text.startswith("/") and not line.text.startswith("//"):
                if not await self._obey(line, chat):
                    return
            elif line.text:
                if not await self._has_room():
                    rest = f"the rest of the input was not read, from line {line.number} on"
                    self._left.unread = rest
                    return
                self._start_sending(line, line.text.removeprefix("/"), chat)

    async def _has_room(self) -> bool:
        """Wait until there is room for one more line. Returns False if a pipe waits in vain."""
        while len(self._open) >= LINES_UNDER_WAY:
            if not await self._hears_more() and not self._lines.is_terminal:
                return False
        return True

    async def _obey(self, line: Line, chat: Chat) -> bool:
        """Carry out a command. Returns False if it is to leave."""
        match line.text.split():
            case ["/quit"]:
                self._lines.has_ended = True
                return False
            case ["/help"]:
                self._screen.show(HELP.format(self._screen.marks))
            case ["/to", name]:
                self._talk_to(name, line)
            case ["/to", *_]:
                self._partner = None
                self._refuse(line, "write /to NAME; one name, without blanks")
            case ["/room", *words]:
                await self._talk_in(" ".join(words), line, chat)
            case ["/rooms"]:
                await self._show(self._questions.rooms(chat), line)
            case [("/history" | "/members" | "/read") as what]:
                await self._ask_here(what, line, chat)
            case _:
                self._refuse(line, "no such command, see /help; // sends a slash")
        return True

    def _talk_to(self, name: str, line: Line) -> None:
        # With a bad name there is no partner: the next line is not for the one before.
        self._partner = None
        try:
            self._partner = check_user_name(name)
        except BadName as error:
            self._refuse(line, f"write /to NAME; {error}")
        else:
            self._screen.show(f"-- talking to {harmless(name)}")

    async def _talk_in(self, name: str, line: Line, chat: Chat) -> None:
        # The lines that follow wait: they are for this room, or for nobody.
        self._partner = None
        if not name:
            self._refuse(line, "write /room NAME; /rooms lists your rooms")
            return
        self._partner = await self._asked(self._questions.find_room(chat, name), line)
        if self._partner is not None:
            self._screen.show(f"-- talking in {harmless(self._rooms.shown(self._partner))}")

    async def _ask_here(self, what: str, line: Line, chat: Chat) -> None:
        if self._partner is None:
            self._refuse(line, "say first where: /to NAME or /room NAME")
            return
        ask = {
            "/history": self._questions.history,
            "/members": self._questions.members,
            "/read": self._questions.read,
        }[what]
        await self._show(ask(chat, self._partner), line)

    async def _show(self, question: Coroutine[Any, Any, list[str]], line: Line) -> None:
        for each in await self._asked(question, line) or ():
            self._screen.show(each)

    async def _asked(self, question: Coroutine[Any, Any, T], line: Line) -> T | None:
        """Return the answer; None if there is none, which the person is told."""
        try:
            async with asyncio.timeout(LAST_ANSWERS_SECONDS):
                return await question
        except TimeoutError:
            self._refuse(line, "the server does not answer; try again")
        except ClientError as error:
            self._refuse(line, str(error))
        return None

    def _start_sending(self, line: Line, text: str, chat: Chat) -> None:
        if self._partner is None:
            self._refuse(line, "say first whom it is for: /to NAME")
            return
        try:
            send = chat.begin(self._partner, text)
        except ClientError as error:
            self._refuse(line, str(error))
            return
        self._open[line.number] = line, send
        send.answer.add_done_callback(lambda _answer: self._hear(line.number))

    def _hear(self, number: int) -> None:
        """A line has its answer, or gets none from this chat."""
        if number in self._open and self._is_settled(*self._open[number]):
            del self._open[number]
        self._news.set()  # there may be room

    def _is_settled(self, line: Line, send: UnansweredSend) -> bool:
        """Say whether it is known what became of a line; if it was not sent, tell the person.

        It asks the line's own send, for other lines may have the same text.
        """
        if not send.answer.done():
            return False
        problem = send.answer.exception()
        if problem is None:
            return True
        if send.is_kept and not isinstance(problem, MessageRejected | MessageUncertain):
            return False  # the chat has ended; the next one sends it
        self._refuse(line, str(problem))
        return True

    def _refuse(self, line: Line, why: str) -> None:
        """Say at once that a line is not sent. A person gets it back whole. A pipe may have many of
        them: it gets their beginnings, and is told at the end as well.
        """
        if self._lines.is_terminal:
            text = harmless(line.text)
        else:
            text = beginning(line.text)
            self._left.add(line.number, line.text, why)
        why = beginning(why, REASON_CHARACTERS)
        self._screen.show(f"{self._screen.marks.refused} {text} ({why})")

    # Receiving -------------------------------------------------------------------------------

    async def _receive(self, chat: Chat) -> None:
        async for message in chat:
            if not self._show_message(message):
                return  # not acknowledged, so it comes again where it can be shown

    def _show_message(self, message: Message) -> bool:
        """Show a message. Returns whether that was possible. What this user has sent from another
        device to somebody else is an own line here too.
        """
        if message.is_own and message.to not in {"", message.sender}:
            self._remember(message.id, message.content)
        self._questions.was_shown(message.conversation, message.offset)
        return self._screen.show(self._questions.line(message))

    async def _watch_screen(self, *seen_by_people: asyncio.Task[None]) -> None:
        """Without a screen receive nothing, and read no terminal; a pipe is read to its end."""
        await self._screen.gone.wait()
        receiving, taking = seen_by_people
        receiving.cancel()
        if self._lines.is_terminal:
            taking.cancel()

    # The end ---------------------------------------------------------------------------------

    async def _wait_for_answers(self, chat: Chat) -> None:
        """Wait until everything is answered, or until no more answers come."""
        if (self._open or chat.unanswered) and self._is_connected is not True:
            self._screen.show(f"-- waiting up to {LAST_ANSWERS_SECONDS:g} s for a connection")
        while self._open or chat.unanswered:
            if not await self._hears_more():
                return

    async def _hears_more(self) -> bool:
        """Wait for an answer. Returns False when none comes for a while."""
        self._news.clear()
        try:
            async with asyncio.timeout(LAST_ANSWERS_SECONDS):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _note_left(self, chat: Chat) -> None:
        """Note the lines without an answer. Refused ones were told at once and are not repeated."""
        ours = set()
        for number, (line, send) in self._open.items():
            ours.add(send.draft.ref)
            if not self._is_settled(line, send):
                why = f"no answer yet; it is kept, and {self._next_chat} sends it"
                if not send.is_kept:
                    why = "no answer yet; it may not be in the outbox: look next time"
                self._left.add(number, send.draft.content, why)
        self._open.clear()
        for draft in chat.unanswered:
            if draft.ref not in ours:
                why = f"of an earlier time; it is kept, and {self._next_chat} sends it"
                self._left.add(0, draft.content, why)
        if not (self._lines.has_ended or self._lines.is_terminal):
            self._left.unread = self._left.unread or "the rest of the input was not read"

    def _tell_left(self) -> None:
        if self._left and self._errors is not None:
            with suppress(OSError):
                print(f"landline: {self._left.told()}", file=self._errors, flush=True)


def _with(device: str | None) -> str:
    return "" if device is None else f" with --device {device}"
