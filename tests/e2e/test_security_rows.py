"""What docs/security.md promises and no other suite tries: each test is named in a row of it."""

import asyncio
import json
import re
import unicodedata
import zlib
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from support.frames import send
from support.peer import Peer, until_caught_up
from support.raw import TEXT, RawSocket, dialled, frame, opened, request
from support.server import ServerProcess
from support.waiting import paced, until

pytestmark = pytest.mark.e2e

# What a thousand silent sockets may leave, together.
SILENT_BYTES = 16 * 1024 * 1024

# Names that mean something to a shell, a pattern, SQL, a format, a page or a terminal, and are
# names all the same.
STRANGE_NAMES = [
    *("*", "?", "%", "_", "'", '"', "`", "\\", "$1", "{0}", "%s", "..", "-", "--", "#", "&", "\\0"),
    *("';DROP--", "<script>", "${HOME}", "[a-z]*", "NULL", "\\u0000", "user@host", "a=b&c=d"),
    *(
        "\U00020000\U0002a6d6",
        "\u05d0\u05d1\u05d2",
        "\u0645\u0631\u062d\u0628\u0627",
        "ﬀ".casefold(),
    ),
]
# And such as would garble a line, and are none.
REFUSED_NAMES = [
    *("a\nb", "a\r\nX: y", "a\x1b[31m", "\x1b]0;t\x07", "a:b", "a/b", "a\x00", "\u202eevil"),
    *("a\u2028b", "\u200bevil", "a b", "a\tb", "\ufeffa", "a\u0085b", "e\u0301"),
]


async def test_one_request_has_one_origin(server: ServerProcess) -> None:
    """A proxy may look at the first and we at the last: so there is one, or nobody gets in."""
    good, evil = f"http://127.0.0.1:{server.port}", "http://evil.example"
    for origins in [(good, evil), (evil, good), (good, good), (good, "null"), ("null", good)]:
        headers = [("Origin", origin) for origin in origins]
        async with dialled(server.port) as raw:
            response = await raw.upgrade(request(server.port, headers=headers))
            assert response.status in (400, 403), origins
    for cookie in ("session=1", "token=2"):  # a browser adds it to what another site's page asks
        headers = [("Origin", evil), ("Cookie", cookie)]
        async with dialled(server.port) as raw:
            assert (await raw.upgrade(request(server.port, headers=headers))).status == 403


async def test_the_sender_is_the_session_whatever_a_frame_says(server: ServerProcess) -> None:
    """Every name that a frame might use for it is ignored."""
    fields = ["sender", "from", "user", "username", "as", "sub", "service", "role", "id", "session"]
    async with opened(server.port, "mallory") as raw:
        answers = [
            await raw.ask(send(ref=field, content=f"by {field}", **{field: "alice"}))
            for field in fields
        ]
        assert [answer["type"] for answer in answers] == ["accepted"] * len(fields)
    async with Peer(server.ws_url, "bob") as bob:
        await until(lambda: len(bob.messages) == len(fields), "bob has them all")
        assert {message["sender"] for message in bob.messages} == {"mallory"}
        assert {message["conversation"] for message in bob.messages} == {"dm:bob:mallory"}
    async with Peer(server.ws_url, "alice") as alice:
        await until_caught_up(alice)
        assert alice.messages == []


async def test_a_bomb_is_refused_and_not_inflated(server: ServerProcess) -> None:
    """Compression is never negotiated, so a compressed frame breaks the protocol (RFC 7692)."""
    deflate = zlib.compressobj(9, wbits=-15)
    packed = deflate.compress(b" " * 60_000_000) + deflate.flush(zlib.Z_SYNC_FLUSH)
    bomb = frame(TEXT, packed[:60_000], rsv=4)
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate")]

    async def attack() -> int | None:
        async with opened(server.port, headers=offer) as raw:
            await raw.write(bomb)
            return await raw.close_code()

    process = psutil.Process(server.pid)
    assert await attack() == 1002
    before = process.memory_info().rss
    codes = await asyncio.gather(*(attack() for _ in range(100)))
    assert set(codes) == {1002}
    assert process.memory_info().rss - before < 64 * 1024 * 1024


async def test_the_last_files_are_not_for_clients(tmp_path: Path) -> None:
    """What is left when no more clients are let in is enough for the log, the store and probes."""
    files = 128
    server = ServerProcess(tmp_path / "data", prefix=["prlimit", f"--nofile={files}:{files}"])
    with server:
        async with AsyncExitStack() as clients:
            admitted = []
            for _ in range(files):
                raw = await clients.enter_async_context(dialled(server.port))
                response = await raw.upgrade(request(server.port))
                if response.status != 101:
                    assert response.status == 503
                    assert "retry-after" in response.headers
                    break
                admitted.append(raw)
            assert len(admitted) == files - 64
            assert (await admitted[0].ask(send()))["type"] == "accepted"
            assert server.get("/readyz")[0] == server.get("/healthz")[0] == 200
        async with Peer(server.ws_url, "bob") as bob:
            await until(lambda: bool(bob.messages), "bob is let in when the others have gone")
        assert "Traceback" not in server.log()


async def test_sockets_that_say_nothing_leave_nothing(server: ServerProcess) -> None:
    """A thousand of them at once."""
    process = psutil.Process(server.pid)
    async with Peer(server.ws_url, "alice") as alice:
        await until_caught_up(alice)
        files, before_bytes = process.num_fds(), process.memory_info().rss
        silent = [await RawSocket.dial(server.port) for _ in range(1_000)]
        try:
            await alice.send_and_wait("alice", "in the meantime")
            await asyncio.gather(*(raw.until_cut() for raw in silent))
        finally:
            for raw in silent:
                await raw.close()
        await until(lambda: process.num_fds() <= files, "every socket is closed")
        assert process.memory_info().rss - before_bytes < SILENT_BYTES


async def test_dead_peers_are_cleared_away(server: ServerProcess) -> None:
    """Their sockets stay open and say nothing, as behind a router that was switched off."""
    dead = 1_000
    process = psutil.Process(server.pid)
    async with Peer(server.ws_url, "alice") as alice:
        await until_caught_up(alice)
        files = process.num_fds()
        sockets = []
        for _ in range(dead):
            raw = await RawSocket.dial(server.port)
            sockets.append(raw)
            assert (await raw.upgrade(request(server.port))).status == 101
        try:
            assert f"landline_connections {dead + 1}" in server.get("/metrics")[1]
            await until(lambda: process.num_fds() <= files, "every socket is closed", seconds=120)
            assert re.search(
                r"^landline_connections 1(\.0)?$", server.get("/metrics")[1], re.MULTILINE
            )
        finally:
            for raw in sockets:
                await raw.close()
        await alice.send_and_wait("alice", "still here")
        assert len(alice.visits) == 1


async def test_every_name_means_itself_and_garbles_nothing(server: ServerProcess) -> None:
    """From the address, as a recipient, in the log, the store and its answers, live and again."""
    text = "\x1b[31m'; DROP TABLE messages; --\n\u202e\U0001f600 %s {0} </script>"
    names = [*STRANGE_NAMES]
    assert len(set(names)) == len(names)
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        async with Peer(server.ws_url, name, acks=False) as peer:
            await peer.send_and_wait(other, f"{text} for {other}")
    for again in (False, True):
        if again:
            assert server.end() == 0
            await asyncio.to_thread(server.start)
        for name, other in zip([names[-1], *names[:-1]], names, strict=True):
            async with Peer(server.ws_url, other, acks=again) as peer:
                await until_caught_up(peer)
                [message] = peer.messages
                assert (message["sender"], message["to"]) == (name, other)
                assert message["content"] == f"{text} for {other}"
                assert message["conversation"] == "dm:" + ":".join(sorted([name, other]))
    check_log(server, names)
    metrics = server.get("/metrics")[1]
    assert not any(f'"{name}"' in metrics for name in names if len(name) > 2)


async def test_no_name_that_is_refused_garbles_a_log_or_an_answer(server: ServerProcess) -> None:
    """It is refused wherever it is given, and shown in one line without control characters."""
    port = server.port
    async with opened(port) as raw:
        for name in REFUSED_NAMES:
            answer = await raw.ask(send(to=name))
            assert (answer["code"], answer["outcome"]) == ("bad_recipient", "rejected"), name
            assert answer["message"].isprintable()
            assert name not in answer["message"]
            assert (await raw.ask('{"type":"ping"}'))["type"] == "pong"
    for name in REFUSED_NAMES:
        async with dialled(port) as raw:
            response = await raw.upgrade(request(port, f"/ws/chat?username={quote(name)}"))
            assert response.status == 400, name
            assert "x" not in response.headers
    check_log(server, [])
    for line in server.log().splitlines():
        assert not set(json.loads(line)) & {"X", "y"}


def check_log(server: ServerProcess, names: list[str]) -> None:
    """Every line is one JSON object without a raw control character; it has these users."""
    lines = server.log().split("\n")
    assert lines.pop() == ""
    users = set()
    for line in lines:
        assert line.isprintable() or not any(unicodedata.category(c) == "Cc" for c in line)
        users.add(json.loads(line).get("user"))
    assert set(names) <= users


def spellings() -> list[tuple[str, str]]:
    """Return pairs of one name in its normal form and in another that normalises to it."""
    names = ("\u00c5ngstr\u00f6m", "\uac00\ub098", "Zo\u00eb", "\u1e69", "\u30ac")
    pairs = [(name, unicodedata.normalize("NFD", name)) for name in names]
    singles = [("\u00c5", "\u212b"), ("\u03a9", "\u2126"), ("K", "\u212a"), ("\u00b4", "\u1ffd")]
    assert all(one == unicodedata.normalize("NFC", other) != other for one, other in pairs)
    return [*pairs, *singles]


async def test_of_two_spellings_of_a_name_one_is_none(server: ServerProcess) -> None:
    """So they cannot be two users, wherever the name comes from. Case matters: it is a name."""
    port = server.port
    async with opened(port) as raw:
        for name, other in spellings():
            assert (await raw.ask(send(to=name)))["type"] == "accepted"
            assert (await raw.ask(send(to=other)))["code"] == "bad_recipient"
            for given, status in ((name, 101), (other, 400)):
                async with dialled(port) as by_query, dialled(port) as by_header:
                    target = f"/ws/chat?username={quote(given)}"
                    assert (await by_query.upgrade(request(port, target))).status == status
                    data = request(port, "/ws/chat", [("username", given)])
                    assert (await by_header.upgrade(data)).status == status
    async with opened(port, "carol") as raw:
        assert (await raw.ask(send(to="Bob")))["type"] == "accepted"
    async with Peer(server.ws_url, "bob") as bob:
        await until_caught_up(bob)
        assert bob.messages == []


async def test_reconnecting_without_end_keeps_nobody_else_waiting(server: ServerProcess) -> None:
    """Each time thousands are owed; the one who reconnects reads none of them."""
    pending = 2_000
    async with Peer(server.ws_url, "sender") as sender:
        for number in range(pending):
            await sender.send("mallory", f"{number} {'x' * 500}")
        await until(lambda: not sender.unanswered, "all are accepted")
    connects = 0

    async def reconnect() -> None:
        nonlocal connects
        async for _ in paced(0):
            async with opened(server.port, "mallory"):
                connects += 1

    process = psutil.Process(server.pid)
    async with Peer(server.ws_url, "alice") as alice, Peer(server.ws_url, "bob") as bob:
        files = process.num_fds()
        attackers = [asyncio.create_task(reconnect()) for _ in range(4)]
        sent = 0
        while connects < 300:
            await alice.send_and_wait("bob", f"in the meantime {sent}")
            sent += 1
        await until(lambda: alice.accepted_ids == bob.received, "bob has every message")
        for attacker in attackers:
            attacker.cancel()
        await asyncio.wait(attackers)
        await until(lambda: process.num_fds() <= files, "every socket is closed")
        assert len(alice.visits) == len(bob.visits) == 1
    async with Peer(server.ws_url, "mallory") as mallory:
        await until(lambda: len(mallory.received) == pending, "nothing of what is owed was lost")
