"""What is said at the end is true of every line, however it ends.

A line that has its tick is not named; one that is said to be kept is in the outbox; one that is
said not to be sent was not sent and is not in the outbox, so that it can be sent again.
"""

import asyncio
import io
import json
import os
import re
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import ClientError
from landline.client.outbox import Draft, FileOutbox
from landline.terminal import left
from landline.terminal.chat import Terminal
from landline.terminal.lines import Input
from landline.terminal.screen import Screen
from support.peer import Frame
from support.scripted import Script, Scripted, accept, scripted, welcome
from support.waiting import until

WAIT_SECONDS = 60.0
LINES = 30
# Two lines of one text, too: one of them may be answered and the other one not.
TEXTS = [f"text {number // 2}" for number in range(LINES)]


@pytest.fixture(autouse=True)
def all_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left, "NAMED_LINES", 2 * LINES)


def answering(count: int, *, hang_up: bool = False) -> Script:
    """A server that accepts so many sends, and then says nothing more or refuses for good."""

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket, "al")
        if hang_up and not count:
            await socket.close(1008, "go away")
        async for text in socket:
            frame: Frame = json.loads(text)
            seen.sessions[-1].append(frame)
            if len(seen.frames) <= count:
                await accept(socket, frame)
            if hang_up and len(seen.frames) == count:
                await socket.close(1008, "go away")
                return

    return script


@dataclass
class Piped:
    """A chat with numbered lines piped in, and with what it said."""

    url: str
    outbox: Path
    screen: io.StringIO = field(default_factory=io.StringIO)
    errors: io.StringIO = field(default_factory=io.StringIO)

    def open(self) -> "tuple[landline.Chat, asyncio.Task[int]]":
        """Begin it. Its input does not end by itself."""
        reading, self._writing = os.pipe()
        os.write(self._writing, "".join(f"{text}\n" for text in TEXTS).encode())
        self._stream = os.fdopen(reading)
        self._input = Input(self._stream)
        chats = Terminal("bo", self._input, Screen(self.screen), self.errors)
        chat = landline.connect(
            self.url, username="al", outbox=self.outbox, connect_timeout=None,
            on_event=chats.show_event,
        )  # fmt: skip
        return chat, asyncio.create_task(chats.run(chat))

    async def close(self) -> None:
        """End the input, and wait for its thread to have read that."""
        os.close(self._writing)
        while await self._input.next() is not None:
            pass
        self._stream.close()

    @property
    def ticks(self) -> Counter[str]:
        """Return the texts that were shown as accepted."""
        return Counter(re.findall(r"^. (text \d+)$", self.screen.getvalue(), re.MULTILINE))

    def named(self) -> dict[int, str]:
        """Return the numbers of the lines that were named, and what was said of each."""
        said = re.findall(r"^  line (\d+): (.*): text \d+$", self.errors.getvalue(), re.MULTILINE)
        return {int(number): why for number, why in said}

    async def check(self) -> None:
        """What was said is true."""
        again = FileOutbox(self.outbox, "al", self.url)
        drafts, _handed = await again.open()
        await again.close()
        named = self.named()
        kept = [number for number, why in named.items() if "is kept" in why]
        assert Counter(TEXTS[number - 1] for number in kept) == Counter(d.content for d in drafts)
        told = Counter(TEXTS[number - 1] for number in named)
        assert self.ticks + told <= Counter(TEXTS)
        rest = Counter(TEXTS) - self.ticks - told
        assert not rest or "the rest of the input was not read" in self.errors.getvalue()
        match = re.search(r"^landline: (\d+) lines? w", self.errors.getvalue())
        assert (int(match[1]) if match else 0) == len(named)


async def end(running: "asyncio.Task[int]") -> None:
    """A signal comes, if none has come yet."""
    if not running.cancelling():
        running.cancel()
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.wait({running})
    assert running.cancelled()


@pytest.mark.parametrize("ticks", [0, 1, 2, 15, LINES])
async def test_a_signal_after_some_ticks(ticks: int, tmp_path: Path) -> None:
    async with scripted(answering(ticks)) as server:
        piped = Piped(server.url, tmp_path / "a.db")
        _chat, running = piped.open()
        try:
            await until(
                lambda: piped.ticks.total() == ticks and len(server.frames) == LINES, "it has sent"
            )
            await end(running)
        finally:
            await piped.close()
        await piped.check()
        assert len(piped.named()) == LINES - ticks


class Watched(io.StringIO):
    """A screen that ends its chat as soon as it shows so many ticks."""

    def __init__(self, ticks: int) -> None:
        super().__init__()
        self._ticks = ticks
        self.running: asyncio.Task[int] | None = None

    def write(self, text: str) -> int:
        """Show a text."""
        written = super().write(text)
        if self.running is not None and self.getvalue().count("text ") == self._ticks:
            self.running.cancel()
        return written


@pytest.mark.parametrize("ticks", [1, 2, 18, LINES])
async def test_a_signal_at_the_very_moment_of_a_tick(ticks: int, tmp_path: Path) -> None:
    """The line has its answer, and nobody has had a turn to hear of it."""
    screen = Watched(ticks)
    async with scripted(answering(LINES)) as server:
        piped = Piped(server.url, tmp_path / "a.db", screen)
        _chat, screen.running = piped.open()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await asyncio.wait({screen.running})
            assert screen.running.cancelled()
        finally:
            await piped.close()
        await piped.check()


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_a_signal_at_any_moment(turns: int, tmp_path: Path) -> None:
    """Counted in turns of the loop since the first line was taken."""
    async with scripted(answering(LINES)) as server:
        piped = Piped(server.url, tmp_path / "a.db")
        chat, running = piped.open()
        try:
            await until(lambda: bool(chat.unanswered) or bool(server.frames), "it has begun")
            for _ in range(turns):
                await asyncio.sleep(0)
            await end(running)
        finally:
            await piped.close()
        await piped.check()


async def test_a_signal_while_the_disk_is_busy(tmp_path: Path) -> None:
    """No line is in the file yet; each of them comes there."""
    is_free = threading.Event()
    async with scripted(answering(LINES)) as server:
        piped = Piped(server.url, tmp_path / "a.db")
        chat, running = piped.open()
        try:
            await until(lambda: chat._task is not None, "the outbox is open")
            assert isinstance(chat._outbox, FileOutbox)
            chat._outbox._thread.submit(is_free.wait, WAIT_SECONDS)
            await until(lambda: len(chat.unanswered) + piped.ticks.total() == LINES, "all came")
            running.cancel()
            await until(lambda: chat._ended is not None, "it is being left")
            is_free.set()
            await end(running)
        finally:
            is_free.set()
            await piped.close()
        await piped.check()
        assert len(piped.named()) + piped.ticks.total() == LINES
        assert set(piped.named().values()) <= {
            "no answer yet; it is kept, and your next chat at this address sends it"
        }


@pytest.mark.parametrize("is_full", [False, True], ids=["free disk", "full disk"])
async def test_another_signal_while_it_is_being_left(tmp_path: Path, *, is_full: bool) -> None:
    """As SIGTERM after Ctrl-C. What is said of a line waits for the disk all the same."""
    is_free = asyncio.Event()
    add = FileOutbox.add

    async def add_late(self: FileOutbox, draft: Draft) -> None:
        await is_free.wait()
        if is_full:
            raise ClientError("the disk is full")
        await add(self, draft)

    async with scripted(answering(LINES)) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FileOutbox, "add", add_late)
            piped = Piped(server.url, tmp_path / "a.db")
            chat, running = piped.open()
            try:
                await until(lambda: len(chat.unanswered) == LINES, "all came")
                running.cancel()
                await until(lambda: chat._ended is not None, "it is being left")
                running.cancel()
                for _ in range(10):
                    await asyncio.sleep(0)
                is_free.set()
                await end(running)
            finally:
                is_free.set()
                await piped.close()
        await piped.check()
        assert len(piped.named()) == LINES
        assert not is_full or all("the disk is full" in why for why in piped.named().values())


@pytest.mark.parametrize("ticks", [0, 1, 7, LINES - 1])
async def test_a_refusal_in_the_middle(ticks: int, tmp_path: Path) -> None:
    async with scripted(answering(ticks, hang_up=True)) as server:
        piped = Piped(server.url, tmp_path / "a.db")
        _chat, running = piped.open()
        try:
            with pytest.raises(ClientError, match="go away"):
                await asyncio.wait_for(running, WAIT_SECONDS)
        finally:
            await piped.close()
        await piped.check()


@pytest.mark.parametrize("kind", ["signal", "refusal"])
async def test_a_full_disk_is_no_reason_to_say_that_it_is_kept(kind: str, tmp_path: Path) -> None:
    script = answering(0, hang_up=True) if kind == "refusal" else answering(LINES)
    async with scripted(script) as server:
        piped = Piped(server.url, tmp_path / "a.db")
        chat, running = piped.open()
        add = FileOutbox.add

        async def add_some(self: FileOutbox, draft: Draft) -> None:
            if int(draft.content.split()[1]) % 3 == 0:
                raise ClientError("the disk is full")
            await add(self, draft)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FileOutbox, "add", add_some)
            try:
                await until(
                    lambda: bool(chat.unanswered) or bool(server.frames) or running.done(),
                    "it has begun",
                )
                if kind == "signal":
                    await end(running)
                else:
                    with suppress(ClientError):
                        await asyncio.wait_for(running, WAIT_SECONDS)
            finally:
                await piped.close()
        await piped.check()
        kept = {number for number, why in piped.named().items() if "is kept" in why}
        assert all((number - 1) // 2 % 3 for number in kept)
