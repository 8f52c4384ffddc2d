"""`landline chat`: a chat in a terminal, line by line."""

import asyncio
import codecs
import os
import sys
import threading
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from landline.client import (
    Accepted,
    Chat,
    ClientError,
    Connected,
    Delivered,
    Disconnected,
    Event,
    MessageRejected,
    connect,
)

LAST_ANSWERS_SECONDS = 10.0
# Own lines remembered for their second tick; an older one simply does not get it shown.
REMEMBERED_LINES = 1_000

_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

HELP = """\
type a line and press Enter to send it
/to NAME   talk to somebody else
/quit      leave (Ctrl-D too)
/help      this text
✓ accepted: it is safe    ✓✓ delivered: the other side has it"""


async def run_chat(url: str, username: str, to: str | None, outbox: Path | None) -> int:
    """Chat until the input ends. Returns the exit code.

    Raises: ClientError when there can be no chat at all.
    """
    terminal = Terminal(to)
    chat = connect(
        url,
        username=username,
        outbox=outbox or default_outbox(url, username),
        connect_timeout=None,  # what is typed before there is a server goes out later
        on_event=terminal.show_event,
    )
    return await terminal.run(chat)


def default_outbox(url: str, username: str) -> Path:
    """Return the file that keeps this user's unsent lines for this server."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    server = urlsplit(url).netloc.replace(":", "_").replace("/", "_")
    return state / "landline" / f"{username}@{server}.db"


def harmless(text: str) -> str:
    """Return text on one line that cannot steer a terminal or pretend to be another line."""
    return "".join(
        "\N{RETURN SYMBOL}"
        if character == "\n"
        else "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(character) in ("Cc", "Cs") or character in _BIDI_CONTROLS
        else character
        for character in text
    )


class Terminal:
    """Shows a chat and reads its lines."""

    def __init__(self, partner: str | None) -> None:
        self._partner = partner
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._sent: dict[str, str] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._is_connected: bool | None = None

    async def run(self, chat: Chat) -> int:
        """Chat until the input ends, then wait for the last answers. Raises: ClientError."""
        self._start_reading()
        try:
            async with chat:
                await self._chat(chat)
        except* ClientError as group:
            raise group.exceptions[0] from None
        return 0

    async def _chat(self, chat: Chat) -> None:
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(self._receive(chat))
            if chat.unanswered:
                print(f"-- sending {len(chat.unanswered)} unsent lines of last time", flush=True)
            if self._partner is None:
                print("-- say whom to talk to: /to NAME", flush=True)
            while (line := await self._lines.get()) is not None:
                if line == "/quit":
                    break
                self._do(line, chat, tasks)
            unanswered = await self._wait_for_answers(chat)
            receiving.cancel()
            if unanswered:
                print(f"-- {unanswered} lines are not sent yet; they go out next time", flush=True)
            for task in self._sending:
                task.cancel()

    def show_event(self, event: Event) -> None:
        """Show what the chat tells."""
        match event:
            case Connected():
                if self._is_connected is not True:
                    print("-- connected", flush=True)
                self._is_connected = True
            case Disconnected(reason=reason):
                if self._is_connected is not False:
                    print(f"-- reconnecting ({harmless(reason)})", flush=True)
                self._is_connected = False
            case Accepted(content=content, receipt=receipt):
                print(f"✓ {harmless(content)}", flush=True)
                self._sent[receipt.id] = content
                if len(self._sent) > REMEMBERED_LINES:
                    del self._sent[next(iter(self._sent))]
            case Delivered(ids=ids):
                for id in ids:
                    if id in self._sent:
                        print(f"✓✓ {harmless(self._sent.pop(id))}", flush=True)

    # Inside ----------------------------------------------------------------------------------

    def _do(self, line: str, chat: Chat, tasks: asyncio.TaskGroup) -> None:
        if not line.strip():
            return
        if line.startswith("/"):
            command, _, argument = line.partition(" ")
            if command == "/to" and argument.strip():
                self._partner = argument.strip()
                print(f"-- talking to {harmless(self._partner)}", flush=True)
            else:
                print(HELP, flush=True)
        elif self._partner is None:
            print("-- say whom to talk to first: /to NAME", flush=True)
        else:
            task = tasks.create_task(self._send(chat, self._partner, line))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, chat: Chat, to: str, line: str) -> None:
        try:
            await chat.send(to, line)
        except MessageRejected as error:
            print(f"✗ {harmless(line)} ({harmless(error.reason)})", flush=True)
        except ClientError:
            pass  # the chat has ended; who waits for it says why

    async def _receive(self, chat: Chat) -> None:
        async for message in chat:
            time = message.time.astimezone().strftime("%H:%M")
            print(f"[{time}] {harmless(message.sender)}: {harmless(message.content)}", flush=True)

    async def _wait_for_answers(self, chat: Chat) -> int:
        deadline = asyncio.get_running_loop().time() + LAST_ANSWERS_SECONDS
        await asyncio.sleep(0)  # lines that were read last become sends first
        while chat.unanswered and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - once
            await asyncio.sleep(0.02)
        return len(chat.unanswered)

    def _start_reading(self) -> None:
        """Read lines on a thread: it works for terminals, pipes and files alike. A daemon, for
        nothing can interrupt a read.
        """
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=_read_lines, args=(loop, self._lines.put_nowait))
        thread.daemon = True
        thread.start()


def _read_lines(loop: asyncio.AbstractEventLoop, put: Callable[[str | None], None]) -> None:
    # Not sys.stdin.readline: a daemon thread inside it holds a lock that the interpreter wants
    # when it ends.
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    rest = ""
    with suppress(RuntimeError, OSError):  # the loop or the input is closed: nobody listens
        while chunk := os.read(sys.stdin.fileno(), 4096):
            *lines, rest = (rest + decode(chunk)).split("\n")
            for line in lines:
                loop.call_soon_threadsafe(put, line.rstrip("\r"))
        if rest:
            loop.call_soon_threadsafe(put, rest)
        loop.call_soon_threadsafe(put, None)
