"""`landline chat` in a pipe: exit code 0 says that every line was accepted; nothing else does."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from landline.client.outbox import Draft, FileOutbox
from landline.terminal.files import default_outbox
from support.chats import WAIT_SECONDS, Chats, finish, received
from support.door import door
from support.peer import Peer
from support.server import ServerProcess
from support.waiting import until


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


USUAL = ["--limit-messages", "20", "--limit-bytes", "131072", "--limit-frames", "50"]


@pytest.mark.parametrize(
    ("limits", "count", "size", "bytes_per_second"),
    [
        (["--limit-messages", "50"], 300, 1, None),
        (["--limit-messages", "1"], 6, 1, None),
        (USUAL, 90, 1_000, 125_000),
        (USUAL, 90, 10_000, 625_000),
    ],
)
async def test_lines_keep_their_order_where_a_limit_makes_them_wait(
    limits: list[str], count: int, size: int, bytes_per_second: float | None, tmp_path: Path
) -> None:
    lines = [f"line {number} ".ljust(size, "x") for number in range(count)]
    with ServerProcess(tmp_path / "data", args=limits) as server:
        async with door(server.ws_url, bytes_per_second=bytes_per_second) as slow:
            ended = await Chats(slow.url, tmp_path / "state").pipe("\n".join(lines).encode())
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
    ended = await chats.pipe(b"one\ntwo\n", is_patient=False)
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
    await asyncio.to_thread(lambda: next(line for line in lines if line.startswith(b"-- recon")))
    server.start()
    os.close(write)  # not before: after the end of its input it waits for a server, but not long
    assert await finish(process) == (0, b"")
    assert await received(server) == ["one", "two"]


async def test_a_refusal_names_what_was_left(server: ServerProcess, chats: Chats) -> None:
    """The server ends it for good: here because of a name that is given twice and differs."""
    chats.url += "?username=mallory"
    read, write = os.pipe()
    os.write(write, b"one\n")  # before the refusal can come
    os.close(write)
    process = chats.start(read, subprocess.PIPE)
    os.close(read)
    code, errors = await finish(process)
    assert code == 1
    assert b"Traceback" not in errors
    assert b"line 1: " in errors
    assert b"landline: the server refused the connection: two different values" in errors
    assert await received(server) == []
    is_kept = (
        b"line 1: no answer yet; it is kept, and your next chat at this address sends it: one"
        in errors
    )
    assert is_kept != (b"line 1: the server refused the connection" in errors)
    chats.url = server.ws_url
    ended = await chats.pipe(b"")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert await received(server) == ["one"] * is_kept
