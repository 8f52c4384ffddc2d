"""The programs in docs/client.md and the README: they type-check and do what the page says."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import mypy.api
import pytest

import landline
from support.pages import ROOT, code_blocks, read
from support.peer import Peer, until_caught_up
from support.scripted import accept_all, scripted
from support.scripted_http import Answer, scripted_http
from support.server import ServerProcess
from support.waiting import until

URL = "ws://127.0.0.1:8081/ws/chat"
TOKENS_URL = "http://127.0.0.1:8000"
WAIT_SECONDS = 60.0

TEN_LINES, TOKENS, ERRORS, ECHO, ROOMS, READING, DEVICE, OUTBOX = code_blocks(
    read("docs/client.md"), "python"
)


class Program:
    """A program of the page in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_SECONDS):
            return (await self._process.stdout.readline()).decode().rstrip("\n")

    async def end(self) -> list[str]:
        """Wait for its end, which is a good one, and return the lines that were left."""
        async with asyncio.timeout(WAIT_SECONDS):
            output, _ = await self._process.communicate()
        assert self._process.returncode == 0
        return output.decode().splitlines()


@asynccontextmanager
async def running(code: str, url: str, directory: Path) -> AsyncIterator[Program]:
    """Run a program of the page against a server; killed at the end if it has none itself."""
    assert URL in code
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-u", "-W", "error", "-c", code.replace(URL, url)),
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def test_the_readme_has_the_same_ten_lines() -> None:
    assert code_blocks(read("README.md"), "python") == [TEN_LINES]


def test_every_program_passes_mypy_in_strict_mode(tmp_path: Path) -> None:
    for number, code in enumerate(code_blocks(read("docs/client.md"), "python")):
        (tmp_path / f"example_{number}.py").write_text(code, encoding="utf-8")
    output, errors, status = mypy.api.run(
        [f"--config-file={ROOT / 'pyproject.toml'}", *map(str, sorted(tmp_path.glob("*.py")))]
    )
    assert status == 0, output + errors


@pytest.mark.e2e
async def test_the_ten_lines_send_and_receive(server: ServerProcess, tmp_path: Path) -> None:
    async with (
        Peer(server.ws_url, "bob") as bob,
        running(TEN_LINES, server.ws_url, tmp_path) as program,
    ):
        assert (await program.line()).startswith("accepted at offset ")
        await until(lambda: bool(bob.messages), "bob has the message")
        assert [(m["sender"], m["content"]) for m in bob.messages] == [("alice", "hello")]
        await bob.send("alice", "hi, alice")
        assert await program.line() == "bob hi, alice"


async def test_the_function_brings_the_token_of_the_product(tmp_path: Path) -> None:
    assert TOKENS_URL in TOKENS
    async with (
        scripted_http(lambda _asked: Answer('{"token": "t"}')) as product,
        scripted(accept_all) as server,
        running(TOKENS.replace(TOKENS_URL, product.url), server.url, tmp_path) as program,
    ):
        assert await program.end() == ["signed in as a"]
        assert [asked.target for asked in product.asked] == ["/chat-token"]
        assert [each.headers.get("Authorization") for each in server.requests] == ["Bearer t"]
        assert [frame["content"] for frame in server.frames] == ["hello"]


@pytest.mark.e2e
async def test_the_errors_are_those_of_the_page(server: ServerProcess, tmp_path: Path) -> None:
    async with running(ERRORS, server.ws_url, tmp_path) as program:
        assert await program.end() == ["never sent: bad_recipient"]
    async with Peer(server.ws_url, "bob") as bob:
        await until_caught_up(bob)
        assert [message["content"] for message in bob.messages] == ["are you there?"]


@pytest.mark.e2e
async def test_the_echo_answers_once_and_stops(server: ServerProcess, tmp_path: Path) -> None:
    """Also what waited for it; and what it was told to stop with does not come again."""
    async with Peer(server.ws_url, "alice") as alice:
        for content in ("one", "two", "stop"):
            await alice.send_and_wait("echo", content)
        async with running(ECHO, server.ws_url, tmp_path) as program:
            await program.end()
        await until(lambda: len(alice.messages) == 3, "every message is answered")
        assert [message["content"] for message in alice.messages] == [
            "you said: one",
            "you said: two",
            "you said: stop",
        ]
    async with Peer(server.ws_url, "echo") as echo:
        await until_caught_up(echo)
        assert not echo.messages


@pytest.mark.e2e
async def test_the_room_is_made_and_what_is_unread_is_read(
    server: ServerProcess, tmp_path: Path
) -> None:
    async with running(ROOMS, server.ws_url, tmp_path) as program:
        assert await program.end() == []
    async with landline.connect(server.ws_url, username="bob") as bob:
        [room] = (await bob.conversations()).items
        assert (room.title, room.kind, room.unread) == ("Lunch at noon", "room", 4)
        members = await bob.members(room.conversation)
        assert [each.user for each in members] == ["alice", "bob", "carol"]
        answer = await bob.send(room.conversation, "at the river")
    async with running(READING, server.ws_url, tmp_path) as program:
        # What alice has done herself is nothing new to her.
        lines = await program.end()
        assert lines[0] == "Lunch at noon 1 unread"
        assert lines[-1] == f"{answer.offset} bob"
    async with running(READING, server.ws_url, tmp_path) as program:
        assert await program.end() == ["Lunch at noon 0 unread"]


@pytest.mark.e2e
async def test_the_device_gets_what_others_of_its_user_send(
    server: ServerProcess, tmp_path: Path
) -> None:
    async with running(DEVICE, server.ws_url, tmp_path) as program:
        assert await program.line() == "device archive begins now: True"
        async with Peer(server.ws_url, "alice") as alice, Peer(server.ws_url, "bob") as bob:
            await alice.send_and_wait("bob", "hello")
            assert await program.line() == "me to bob hello"
            await bob.send_and_wait("alice", "hi")
            assert await program.line() == "bob to alice hi"


@pytest.mark.e2e
async def test_the_outbox_is_sent_by_the_next_process(
    server: ServerProcess, tmp_path: Path
) -> None:
    server.kill()
    async with running(OUTBOX, server.ws_url, tmp_path) as program:
        assert await program.end() == ["left from last time: 0", "kept for the next time"]
    server.start()
    async with running(OUTBOX, server.ws_url, tmp_path) as program:
        assert await program.line() == "left from last time: 1"
        assert "sent: it will get there" in await program.end()
    outbox = tmp_path / "alice.outbox"
    async with (
        landline.connect(server.ws_url, username="alice", outbox=outbox) as alice,
        Peer(server.ws_url, "bob") as bob,
    ):
        await until(lambda: not alice.unanswered, "everything is answered")
        await until(lambda: len(bob.received) == 2, "bob has both")
        assert [m["content"] for m in bob.messages] == ["it will get there"] * 2
