"""`landline chat` as a process: signals, files that end or are missing, two at once."""

import asyncio
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.chats import WAIT_SECONDS, Chats, finish, received
from support.peer import Peer
from support.server import ServerProcess
from support.waiting import until


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_a_signal_that_ends_it_says_what_was_left(
    number: signal.Signals, code: int, server: ServerProcess, chats: Chats
) -> None:
    server.kill()
    read, write = os.pipe()
    process = chats.start(read, subprocess.PIPE)
    os.close(read)
    os.write(write, b"one\n")
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.readline)  # it is there
    # The line has come through when it is in the file: the next one is read after it.
    os.write(write, b"/to carol\n")
    while b"carol" not in await asyncio.to_thread(process.stdout.readline):
        pass
    process.send_signal(number)
    ended_with, errors = await finish(process)
    os.close(write)
    assert ended_with == code
    assert b"line 1: " in errors
    assert b"the rest of the input was not read" in errors
    assert b"Traceback" not in errors


async def test_a_hangup_that_is_ignored_from_the_beginning_ends_nothing(
    server: ServerProcess, chats: Chats
) -> None:
    """As below `nohup`."""
    shell = 'trap "" HUP; exec "$@"'
    process = await asyncio.to_thread(
        subprocess.Popen[bytes],
        ["/bin/sh", "-c", shell, "sh", *chats.command()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=chats.environment({}),
    )
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.readline)
    process.send_signal(signal.SIGHUP)
    assert await finish(process, b"one\n") == (0, b"")
    assert await received(server) == ["one"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-16", "utf-8"])
async def test_a_screen_that_cannot_show_everything_shows_a_substitute(
    encoding: str, server: ServerProcess, chats: Chats
) -> None:
    async with Peer(server.ws_url, "bob") as bob:
        await bob.send_and_wait("alice", "\u2713 \U0001f600 \u4f60\u597d caf\u00e9 \ufffd")
        process = chats.start(subprocess.PIPE, subprocess.PIPE, env={"PYTHONIOENCODING": encoding})
        assert process.stdout is not None
        raw = b""
        # The end of the input ends the chat, also before a message has come.
        while " bob: ".encode(encoding.replace("utf-16", "utf-16-le")) not in raw:
            chunk = await asyncio.to_thread(os.read, process.stdout.fileno(), 65_536)
            assert chunk, raw
            raw += chunk
        rest, errors = await asyncio.to_thread(
            process.communicate, "\u00e9\u2713\n".encode(), WAIT_SECONDS
        )
        assert (process.returncode, errors) == (0, b"")
        await until(lambda: bool(bob.messages), "bob has it")
        assert bob.messages[0]["content"] == "\u00e9\u2713"
    shown = (raw + rest).decode(encoding)
    tick = "✓" if encoding.startswith("utf") else "+"
    assert f"{tick} " in shown
    assert " bob: " in shown


async def test_a_reader_that_has_seen_enough_does_not_stop_the_lines(
    server: ServerProcess, chats: Chats
) -> None:
    """As in `| head -1`. What could not be shown any more is not acknowledged, and comes again."""
    async with Peer(server.ws_url, "bob") as bob:
        for number in range(3):
            await bob.send_and_wait("alice", f"to alice {number}")
    for output in ("closed at once", "full"):
        if output == "full":
            writing = os.open("/dev/full", os.O_WRONLY)
        else:
            reading, writing = os.pipe()
            os.close(reading)
        process = chats.start(subprocess.PIPE, writing)
        os.close(writing)
        assert await finish(process, b"one\ntwo\n") == (0, b"")
    assert await received(server) == ["one", "two"] * 2
    assert await received(server, "alice") == [f"to alice {number}" for number in range(3)]


async def test_without_output_or_input_there_is_no_traceback(
    server: ServerProcess, chats: Chats
) -> None:
    # Closed input is empty input.
    for redirection, code in ((">&-", 0), ("<&-", 0), (">&- <&-", 0), ("2>&- >&-", 0)):
        shell = f'exec "$@" {redirection}'
        ended = await asyncio.to_thread(
            subprocess.run,
            ["/bin/sh", "-c", shell, "sh", *chats.command()],
            input=b"one\n",
            capture_output=True,
            timeout=WAIT_SECONDS,
            env=chats.environment({}),
            check=False,
        )
        assert ended.returncode == code, (redirection, ended.stderr)
        assert b"Traceback" not in ended.stderr
    assert await received(server) == ["one", "one"]


async def test_a_file_and_nothing_at_all_can_be_the_input(
    server: ServerProcess, chats: Chats, tmp_path: Path
) -> None:
    (tmp_path / "lines").write_bytes(b"one\ntwo\n")
    for path in (tmp_path / "lines", Path("/dev/null")):
        descriptor = os.open(path, os.O_RDONLY)
        process = chats.start(descriptor, subprocess.PIPE)
        os.close(descriptor)
        assert await finish(process) == (0, b"")
    assert await received(server) == ["one", "two"]


async def test_two_chats_of_one_user_at_one_server_are_not_at_once(
    server: ServerProcess, chats: Chats
) -> None:
    first = await chats.running()
    ended = await chats.pipe(b"one\n", is_patient=False)
    assert ended.returncode == 1
    assert b"another process uses the outbox" in ended.stderr
    assert b"only one `landline chat` of alice at this address can run at a time" in ended.stderr
    assert await finish(first, b"") == (0, b"")
    assert await received(server) == []


async def test_a_pipe_waits_for_another_chat_of_its_user_to_end(
    server: ServerProcess, chats: Chats
) -> None:
    """Two jobs that report as the same user may meet."""
    first = await chats.running()
    second = await chats.running(b"waiting")
    assert await finish(first, b"one\n") == (0, b"")
    assert await finish(second, b"two\n") == (0, b"")
    assert await received(server) == ["one", "two"]


async def test_a_pipe_that_is_ended_while_it_waits_says_that_nothing_was_sent(
    server: ServerProcess, chats: Chats
) -> None:
    first = await chats.running()
    second = await chats.running(b"waiting")
    second.terminate()
    code, errors = await finish(second, b"two\n")
    assert code == 128 + signal.SIGTERM
    assert b"Nothing of the input was sent" in errors
    assert await finish(first, b"") == (0, b"")
    assert await received(server) == []


async def test_a_line_that_the_terminal_has_cut_is_not_sent(
    server: ServerProcess, chats: Chats
) -> None:
    """The kernel drops what comes after 4,095 bytes without a word."""
    ours, theirs = pty.openpty()
    process = chats.start(theirs, theirs)
    os.close(theirs)
    shown = b""

    async def wait_for(what: bytes) -> None:
        nonlocal shown
        deadline = time.monotonic() + WAIT_SECONDS
        while what not in shown:
            assert time.monotonic() < deadline, shown
            shown += await asyncio.to_thread(os.read, ours, 65_536)

    await wait_for(b"-- connected")
    for _ in range(5):
        os.write(ours, b"x" * 1_000)
        await wait_for(b"x" * 5)
    os.write(ours, b"\nshort\n")
    await wait_for("✓ short".encode())
    os.write(ours, b"\x04")
    assert await finish(process) == (0, b"")
    os.close(ours)
    assert b"a terminal cuts lines at 4,095 bytes" in shown
    assert await received(server) == ["short"]
