"""`landline chat` in a pipe: exit code 0 says that every line was accepted; nothing else does."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from landline.client.outbox import Draft, FileOutbox
from landline.terminal.files import default_outbox
from support.peer import Peer, until_caught_up
from support.server import ServerProcess
from support.waiting import until

WAIT_SECONDS = 90.0


class Chats:
    """`landline chat` with an input of bytes, and what became of it."""

    def __init__(self, url: str, state: Path) -> None:
        self.url = url
        self._state = state

    def command(self, *more: str, name: str = "alice", to: str | None = "bob") -> list[str]:
        """Return the command line."""
        partner = [] if to is None else ["--to", to]
        command = [sys.executable, "-m", "landline", "chat", "--as", name, *partner]
        return [*command, "--url", self.url, *more]

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment: the files are below a directory of the test."""
        return {**os.environ, "XDG_STATE_HOME": str(self._state), "PYTHONUTF8": "1", **more}

    async def pipe(
        self, text: bytes, *, env: Mapping[str, str] | None = None, to: str | None = "bob"
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run it to its end."""
        ended = await asyncio.to_thread(
            subprocess.run,
            self.command(to=to),
            input=text,
            capture_output=True,
            timeout=WAIT_SECONDS,
            env=self.environment(env or {}),
            check=False,
        )
        assert b"Traceback" not in ended.stderr + ended.stdout
        assert b"Exception ignored" not in ended.stderr
        return ended

    def start(
        self, stdin: int, stdout: int, env: Mapping[str, str] | None = None, name: str = "alice"
    ) -> "subprocess.Popen[bytes]":
        """Run it with these files."""
        return subprocess.Popen(
            self.command(name=name),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=self.environment(env or {}),
            # The suite itself may have been started with `nohup`, which a chat respects.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # noqa: PLW1509
        )


@pytest.fixture
def chats(server: ServerProcess, tmp_path: Path) -> Chats:
    """Chats with the server of the test."""
    return Chats(server.ws_url, tmp_path / "state")


async def received(server: ServerProcess, name: str = "bob") -> list[str]:
    """Return what a user has got, in order."""
    async with Peer(server.ws_url, name) as peer:
        await until_caught_up(peer)
        return [message["content"] for message in peer.messages]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\ntwo", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"\n\none\n\r\n\ntwo\n\n", ["one", "two"]),
        (b"  one \r\r\n two", ["  one \r", " two"]),
        (b"//one\n///two\n//\n", ["/one", "//two", "/"]),
        ("\u00e9\U0001f600\n\u2028\u202e\x1b[2J\x07\n".encode(), ["\u00e9\U0001f600",
                                                                 "\u2028\u202e\x1b[2J\x07"]),
        (b"x" * 16_384 + b"\n//" + b"y" * 16_383 + b"\r\n", ["x" * 16_384, "/" + "y" * 16_383]),
        (b"one\n/quit\ntwo\n", ["one"]),
        (b"/help\n/to bob\none\n", ["one"]),
        (b"", []),
        (b"\xef\xbb\xbf/to bob\none\n", ["one"]),
        (b"\xef\xbb\xbf", []),
    ],
    ids=range(13),
)  # fmt: skip
async def test_every_line_is_sent_as_it_is(
    text: bytes, lines: list[str], server: ServerProcess, chats: Chats
) -> None:
    ended = await chats.pipe(text)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert await received(server) == lines


async def test_many_lines_arrive_in_order(server: ServerProcess, chats: Chats) -> None:
    lines = [f"line {number}" for number in range(600)]
    ended = await chats.pipe("\n".join(lines).encode())
    assert (ended.returncode, ended.stderr) == (0, b"")
    async with Peer(server.ws_url, "bob") as bob:
        await until(lambda: len(bob.messages) == len(lines), "bob has all")
        assert [message["content"] for message in bob.messages] == lines


@pytest.mark.parametrize(
    ("text", "number", "why"),
    [
        (b"a\x00b", 2, "NUL"),
        (b"caf\xe9", 2, "byte 4 (0xe9) is not UTF-8"),
        (b"\xff\xfeo\x00n\x00e\x00", 2, "byte 1 (0xff) is not UTF-8"),
        (b"\xed\xa0\x80", 2, "is not UTF-8"),
        (b"x" * 16_385, 2, "content_too_large"),
        (b"x" * 16_387, 2, "longer than 16,384 bytes"),
        (b"x" * 1_000_000, 2, "longer than 16,384 bytes"),
        (b"\x01" * 16_384, 2, "content_too_large"),
        (b"/unknown keep this text", 2, "no such command"),
        (b"/", 2, "no such command"),
        (b"/Quit", 2, "no such command"),
        (b"/quit now", 2, "no such command"),
        (b"\n\n/to", 4, "write /to NAME; one name, without blanks"),
        (b"/to b:c", 2, "write /to NAME"),
        (b"/to bob carol", 2, "write /to NAME; one name, without blanks"),
    ],
)
async def test_a_line_that_cannot_be_sent_is_named_and_the_others_are_sent(
    text: bytes, number: int, why: str, server: ServerProcess, chats: Chats
) -> None:
    ended = await chats.pipe(b"first\n" + text + b"\n/to bob\nlast\n")
    said = ended.stderr.decode()
    assert ended.returncode == 1
    assert said.startswith("landline: 1 line was not accepted\n")
    assert f"  line {number}: " in said
    assert why in said
    assert len(said) < 400
    assert await received(server) == ["first", "last"]
    if text.startswith(b"/unknown"):
        assert "/unknown keep this text" in said
        assert "/unknown keep this text" in ended.stdout.decode()


async def test_what_follows_a_wrong_name_does_not_go_to_the_one_before(
    server: ServerProcess, chats: Chats
) -> None:
    ended = await chats.pipe(b"/to c:d\nfor c:d alone\n")
    assert ended.returncode == 1
    assert b"2 lines were not accepted" in ended.stderr
    assert b"line 2: say first whom it is for: /to NAME: for c:d alone" in ended.stderr
    assert await received(server) == []


async def test_lines_for_nobody_are_named(server: ServerProcess, chats: Chats) -> None:
    ended = await chats.pipe(b"one\n/to bob\ntwo\n", to=None)
    assert ended.returncode == 1
    assert b"  line 1: say first whom it is for: /to NAME: one" in ended.stderr
    assert await received(server) == ["two"]


async def test_without_a_server_what_is_left_is_named_and_goes_out_next_time(
    server: ServerProcess, chats: Chats
) -> None:
    server.kill()
    ended = await chats.pipe(b"one\ntwo\n")
    assert ended.returncode == 1
    assert ended.stderr.decode() == (
        "landline: 2 lines were not accepted\n"
        "  line 1: no answer yet; it is kept, and your next chat at this address sends it: one\n"
        "  line 2: no answer yet; it is kept, and your next chat at this address sends it: two\n"
    )
    server.start()
    ended = await chats.pipe(b"three")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert await received(server) == ["one", "two", "three"]


async def test_lines_of_an_earlier_version_that_may_be_anothers_are_named_and_not_sent(
    server: ServerProcess, chats: Chats, tmp_path: Path
) -> None:
    chats.url = chats.url.replace("/ws/chat", "/elsewhere/../ws/chat")  # not a usual path
    netloc = server.ws_url.split("/")[2].replace(":", "_")
    before = tmp_path / "state" / "landline" / f"alice@{netloc}.db"
    outbox = FileOutbox(before, "alice", server.ws_url)
    await outbox.open()
    await outbox.add(Draft("r", "bob", "for another address"))
    await outbox.close()
    process = chats.start(subprocess.PIPE, subprocess.PIPE)
    assert process.stderr is not None
    said = await asyncio.to_thread(process.stderr.readline)
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.communicate, b"", WAIT_SECONDS)
    assert f"1 unsent line is in {before}".encode() in said
    assert process.returncode == 143
    assert await received(server) == []


async def test_a_kept_line_that_is_rejected_next_time_is_named(
    server: ServerProcess, chats: Chats, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An earlier version took names that this one refuses."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    outbox = FileOutbox(default_outbox(chats.url, "alice"), "alice", server.ws_url)
    await outbox.open()
    await outbox.add(Draft("r1", "bo\u200bb", "to whom?"))
    await outbox.add(Draft("r2", "bob", "hello"))
    await outbox.close()
    ended = await chats.pipe(b"")
    said = ended.stderr.decode()
    assert ended.returncode == 1
    assert said.startswith("landline: 1 line was not accepted\n  of an earlier time, to bo")
    assert "bad_recipient" in said
    assert said.endswith(": to whom?\n")
    assert await received(server) == ["hello"]
    ended = await chats.pipe(b"")
    assert (ended.returncode, ended.stderr) == (0, b"")


async def test_a_server_that_goes_away_in_the_middle_is_waited_for(
    server: ServerProcess, chats: Chats
) -> None:
    read, write = os.pipe()
    process = chats.start(read, subprocess.PIPE)
    os.close(read)
    assert process.stdout is not None
    os.write(write, b"one\n")
    lines = iter(process.stdout.readline, b"")
    await asyncio.to_thread(lambda: next(line for line in lines if line == "✓ one\n".encode()))
    server.kill()
    os.write(write, b"two\n")
    os.close(write)
    await asyncio.to_thread(lambda: next(line for line in lines if line.startswith(b"-- recon")))
    server.start()
    _out, errors = await asyncio.to_thread(process.communicate, None, WAIT_SECONDS)
    assert (process.returncode, errors) == (0, b"")
    assert await received(server) == ["one", "two"]


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
    _out, errors = await asyncio.to_thread(process.communicate, None, WAIT_SECONDS)
    os.close(write)
    assert process.returncode == code
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
    _out, errors = await asyncio.to_thread(process.communicate, b"one\n", WAIT_SECONDS)
    assert (process.returncode, errors) == (0, b"")
    assert await received(server) == ["one"]


async def test_a_refusal_names_what_was_left(server: ServerProcess, chats: Chats) -> None:
    """The server ends it for good: here because of a name that is given twice and differs."""
    chats.url += "?username=mallory"
    ended = await chats.pipe(b"one\n")
    assert ended.returncode == 1
    assert b"line 1: " in ended.stderr
    assert b"landline: the server refused the connection: username is given twice" in ended.stderr
    assert await received(server) == []
    is_kept = (
        b"line 1: no answer yet; it is kept, and your next chat at this address sends it: one"
        in ended.stderr
    )
    assert is_kept != (b"line 1: the server refused the connection" in ended.stderr)
    chats.url = server.ws_url
    ended = await chats.pipe(b"")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert await received(server) == ["one"] * is_kept


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
        _out, errors = await asyncio.to_thread(process.communicate, b"one\ntwo\n", WAIT_SECONDS)
        assert (process.returncode, errors) == (0, b"")
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
        _out, errors = await asyncio.to_thread(process.communicate, None, WAIT_SECONDS)
        assert (process.returncode, errors) == (0, b"")
    assert await received(server) == ["one", "two"]


async def test_two_chats_of_one_user_at_one_server_are_not_at_once(
    server: ServerProcess, chats: Chats
) -> None:
    first = chats.start(subprocess.PIPE, subprocess.PIPE)
    assert first.stdout is not None
    await asyncio.to_thread(first.stdout.readline)
    ended = await chats.pipe(b"one\n")
    assert ended.returncode == 1
    assert b"another process uses the outbox" in ended.stderr
    assert b"only one `landline chat` of alice at this address can run at a time" in ended.stderr
    await asyncio.to_thread(first.communicate, b"", WAIT_SECONDS)
    assert first.returncode == 0
    assert await received(server) == []


async def test_a_pipe_waits_for_another_chat_of_its_user_to_end(
    server: ServerProcess, chats: Chats
) -> None:
    """Two jobs that report as the same user may meet."""
    first = chats.start(subprocess.PIPE, subprocess.PIPE)
    assert first.stdout is not None
    await asyncio.to_thread(first.stdout.readline)
    second = chats.start(subprocess.PIPE, subprocess.PIPE)
    assert second.stdout is not None
    assert b"waiting" in await asyncio.to_thread(second.stdout.readline)
    await asyncio.to_thread(first.communicate, b"one\n", WAIT_SECONDS)
    _out, errors = await asyncio.to_thread(second.communicate, b"two\n", WAIT_SECONDS)
    assert (first.returncode, second.returncode, errors) == (0, 0, b"")
    assert await received(server) == ["one", "two"]


async def test_a_pipe_that_is_ended_while_it_waits_says_that_nothing_was_sent(
    server: ServerProcess, chats: Chats
) -> None:
    first = chats.start(subprocess.PIPE, subprocess.PIPE)
    assert first.stdout is not None
    await asyncio.to_thread(first.stdout.readline)
    second = chats.start(subprocess.PIPE, subprocess.PIPE)
    assert second.stdout is not None
    assert b"waiting" in await asyncio.to_thread(second.stdout.readline)
    second.terminate()
    _out, errors = await asyncio.to_thread(second.communicate, b"two\n", WAIT_SECONDS)
    assert second.returncode == 128 + signal.SIGTERM
    assert b"Nothing of the input was sent" in errors
    await asyncio.to_thread(first.communicate, b"", WAIT_SECONDS)
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
    _out, errors = await asyncio.to_thread(process.communicate, None, WAIT_SECONDS)
    os.close(ours)
    assert (process.returncode, errors) == (0, b"")
    assert b"a terminal cuts lines at 4,095 bytes" in shown
    assert await received(server) == ["short"]
