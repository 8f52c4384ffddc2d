"""Clients that break the WebSocket protocol, attack, forge acks, or look for what others said."""

import asyncio
import contextlib
import json
import re
import sqlite3
import uuid
from collections import Counter
from pathlib import Path

import psutil
import pytest

from support.frames import EMOJI, FRAME_BYTES, ID, send
from support.peer import Peer
from support.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, opened
from support.server import ServerProcess
from support.waiting import paced, until

# What an attacker may cost while it attacks: buffers, a message in pieces, a parser's stack. What
# is refused at its header is not even buffered.
ATTACKERS = 30

ATTACKER_BYTES = 2 * 1024 * 1024

REFUSED_BYTES = 256 * 1024


def close(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def fragments(count: int, payload: bytes, opcode: int = TEXT) -> bytes:
    """Return an unfinished message of `count` fragments."""
    first = frame(opcode, payload, fin=False)
    return first + frame(CONTINUATION, payload, fin=False) * (count - 1)


PING_FRAME = b'{"type":"ping"}'

BROKEN: dict[str, tuple[bytes, int]] = {
    "unmasked text": (frame(TEXT, PING_FRAME, masked=False), 1002),
    "unmasked ping": (frame(PING, masked=False), 1002),
    **{f"reserved bit {rsv}": (frame(TEXT, PING_FRAME, rsv=rsv), 1002) for rsv in (1, 2, 4, 7)},
    "reserved bit of a ping": (frame(PING, b"x", rsv=4), 1002),
    "reserved bit of a pong": (frame(PONG, b"x", rsv=1), 1002),
    "reserved bit of a close": (frame(CLOSE, b"\x03\xe8", rsv=2), 1002),
    **{
        f"reserved opcode {opcode:#x}": (frame(opcode, b"x"), 1002)
        for opcode in (*range(0x3, 0x8), *range(0xB, 0x10))
    },
    "fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "fragmented close": (frame(CLOSE, b"\x03\xe8", fin=False), 1002),
    "ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "close of 126 bytes": (close(1000, b"x" * 124), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "text within a message": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    "length not in its shortest form, 16 bit": (frame(TEXT, PING_FRAME, length_bytes=2), 1002),
    "length not in its shortest form, 64 bit": (frame(TEXT, PING_FRAME, length_bytes=8), 1002),
    "length of 2^63": (frame(TEXT, claim=2**63), 1002),
    "binary": (frame(BINARY, b"\x00\xff"), 1003),
    "empty binary": (frame(BINARY), 1003),
    "binary of JSON": (frame(BINARY, PING_FRAME), 1003),
    "fragmented binary": (frame(BINARY, b"{", fin=False), 1003),
    "binary within a message": (frame(TEXT, b"{", fin=False) + frame(BINARY, b"}"), 1003),
    **{
        f"invalid UTF-8 {payload.hex()}": (frame(TEXT, payload), 1007)
        for payload in (
            *(b"\xff", b'"\x80"', b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"),
            b'{"type":"send","to":"bob","content":"\xe9"}',
        )
    },
    "invalid UTF-8 in fragments": (
        frame(TEXT, b'"\xe2', fin=False) + frame(CONTINUATION, b'\x82"'),
        1007,
    ),
    "invalid UTF-8 in a close": (close(1000, b"\xff"), 1007),
    "64 KiB and a byte": (frame(TEXT, b" " * (FRAME_BYTES + 1)), 1009),
    "a length of 2^62": (frame(TEXT, claim=2**62), 1009),
    "64 KiB and a byte in fragments": (
        fragments(64, b" " * 1024) + frame(CONTINUATION, b" "),
        1009,
    ),
    "a megabyte in large fragments": (fragments(20, b" " * 50_000), 1009),
    "a megabyte in small fragments": (fragments(10_000, b" " * 100), 1009),
    "100,000 empty continuations": (fragments(100_000, b""), 1009),
    "an empty close": (frame(CLOSE), 1000),
    **{f"close {code}": (close(code, b"bye"), code) for code in (1000, 1001, 1011, 3000, 4999)},
    **{
        f"close {code}": (close(code), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999)
    },
    "close of one byte": (frame(CLOSE, b"\x03"), 1002),
}


def closes(server: ServerProcess, code: int) -> int:
    """Return how many connections have ended with this close code, as the metrics say."""
    _, page = server.get("/metrics")
    found = re.search(rf'^landline_closes_total{{code="{code}"}} (\d+)', page, re.MULTILINE)
    assert found is not None
    return int(found[1])


async def broken_close_code(server: ServerProcess, data: bytes) -> int | None:
    """Send bytes in a session of their own; return how the server closed it."""
    async with opened(server.port) as raw:
        await raw.write(data)
        return await raw.close_code()


async def test_a_client_that_breaks_the_websocket_protocol_is_told_the_right_close_code(
    server: ServerProcess,
) -> None:
    """RFC 6455 and the protocol's own codes; others chat on, undisturbed."""
    async with Peer(server.ws_url, "alice") as alice, Peer(server.ws_url, "bob") as bob:
        wrong = {}
        for name, (data, code) in BROKEN.items():
            got = await broken_close_code(server, data)
            if got != code:
                wrong[name] = f"{got}, not {code}"
            await alice.send("bob", f"after {name}")
        assert wrong == {}
        counted = Counter(code for _, code in BROKEN.values())
        await until(
            lambda: all(closes(server, code) == counted[code] for code in (1002, 1003, 1007, 1009)),
            "the metrics count every close by its code",
        )
        assert closes(server, 1005) == 1  # the empty close
        await until(lambda: not alice.unanswered, "alice has every answer")
        await until(lambda: alice.accepted_ids == bob.received, "bob has every message")
        assert len(bob.received) == len(BROKEN)
        assert len(alice.visits) == len(bob.visits) == 1


async def test_fragments_and_control_frames_in_between_are_put_together(
    server: ServerProcess,
) -> None:
    """A message may come in up to 128 pieces, cut within a character, with pings in between."""
    text = send(content=f"in pieces {EMOJI}", ref="pieces").encode()
    text = json.dumps(json.loads(text), ensure_ascii=False).encode()
    pieces = [text[n : n + 1] for n in range(len(text))]
    assert len(pieces) < 128
    async with opened(server.port) as raw:
        await raw.write(frame(TEXT, pieces[0], fin=False))
        for piece in pieces[1:]:
            await raw.write(frame(CONTINUATION, piece, fin=False) + frame(PONG))
        await raw.write(frame(PING, b"between") + frame(CONTINUATION))
        kinds = []
        while (read := await raw.read_frame()) is not None:
            opcode, payload = read
            kinds.append(opcode)
            if opcode == PONG:
                assert payload == b"between"
            elif json.loads(payload)["type"] == "accepted":
                break
        assert PONG in kinds
    async with Peer(server.ws_url, "bob") as bob:
        await until(lambda: bool(bob.messages), "bob has it")
        assert bob.messages[0]["content"] == f"in pieces {EMOJI}"


@pytest.mark.parametrize(
    ("data", "bytes_each"),
    [
        pytest.param(frame(TEXT, b" " * 8_000_000), REFUSED_BYTES, id="large"),
        pytest.param(frame(TEXT, b"x" * 8_000_000, claim=2**40), REFUSED_BYTES, id="claims"),
        pytest.param(fragments(20_000, b" " * 100), ATTACKER_BYTES, id="pieces"),
        pytest.param(fragments(100_000, b""), ATTACKER_BYTES, id="empty pieces"),
        pytest.param(frame(BINARY, b"x" * 60_000) * 20, ATTACKER_BYTES, id="binary"),
        pytest.param(frame(PING, b"x" * 125) * 10_000, ATTACKER_BYTES, id="pings"),
        pytest.param(frame(TEXT, b"[" * 60_000) * 30, ATTACKER_BYTES, id="nested"),
    ],
)
async def test_an_attack_costs_bounded_memory(
    server: ServerProcess, data: bytes, bytes_each: int
) -> None:
    """Thirty attackers at once, twice over, watched while they attack."""

    async def attack() -> None:
        async with opened(server.port) as raw:
            await asyncio.gather(raw.write(data + close(1000)), raw.close_code())

    process = psutil.Process(server.pid)
    peaks = [0]

    async def watch() -> None:
        async for _ in paced(0.001):
            peaks[-1] = max(peaks[-1], process.memory_info().rss)

    async with Peer(server.ws_url, "alice") as alice, Peer(server.ws_url, "bob") as bob:
        watching = asyncio.create_task(watch())
        await attack()
        for _ in range(2):
            peaks.append(0)
            await asyncio.gather(*(attack() for _ in range(ATTACKERS)))
            await alice.send_and_wait("bob", "still here")
        watching.cancel()
        await until(lambda: alice.accepted_ids == bob.received, "bob has every message")
        assert len(alice.visits) == len(bob.visits) == 1
    grown = max(peaks) - peaks[0]
    assert grown < ATTACKERS * bytes_each, f"memory grew by {grown >> 20} MiB"


async def processed(peer: Peer) -> None:
    """Wait until the server has taken everything that a peer has sent."""
    await peer.raw({"type": "ping"})
    await until(lambda: bool(peer.visit.of("pong")), f"the frames of {peer.user} are processed")


async def test_no_ack_of_anybody_else_makes_a_message_delivered(server: ServerProcess) -> None:
    """Foreign, invented, too many, or no ids at all: the victim still gets its message, and the
    sender hears of it only then.
    """
    async with Peer(server.ws_url, "alice") as alice:
        sent = (await alice.send_and_wait("bob", "for bob only"))["id"]
        async with Peer(server.ws_url, "mallory") as mallory:
            of_mallory = (await mallory.send_and_wait("alice", "bait"))["id"]
            await until(lambda: mallory.statuses == [of_mallory], "alice has the bait")
            acks: list[object] = [
                *(
                    [sent],
                    [sent] * 256,
                    [sent, of_mallory],
                    [str(uuid.uuid4()), sent],
                    [of_mallory],
                ),
                *(
                    [sent] * 257,
                    sent,
                    {sent: True},
                    [[sent]],
                    [sent.upper()],
                    [sent, None],
                    None,
                    [],
                ),
            ]
            for attacker in (mallory, alice):
                for ids in acks:
                    await attacker.raw({"type": "ack", "ids": ids})
                await processed(attacker)
                errors = [error["code"] for error in attacker.errors]
                assert errors == ["bad_frame"] * 7
                assert not [error for error in attacker.errors if "outcome" in error]
        assert alice.statuses == []
        async with Peer(server.ws_url, "bob", acks=False) as bob:
            await until(lambda: sent in bob.received, "bob has it")
        async with Peer(server.ws_url, "bob") as bob:
            await until(lambda: sent in bob.received, "bob has it again, and acknowledges")
            await until(lambda: alice.statuses == [sent], "alice hears of it")
            await bob.raw({"type": "ack", "ids": [sent]})
            await processed(bob)
        assert alice.statuses == [sent]


@pytest.mark.parametrize("environment", [{}, {"PYTHONDEVMODE": "1"}], ids=["plain", "development"])
async def test_a_content_never_appears_in_logs_or_metrics(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Whatever fails: bad frames, broken sockets, a record that cannot be applied, a refused
    upgrade. Looks at standard output, the log file and the metrics. In Python's development mode
    asyncio tells which callbacks were slow, with their arguments.
    """
    canary = f"canary{uuid.uuid4().hex}"
    logs = tmp_path / "logs"
    server = ServerProcess(tmp_path / "data", args=["--log-dir", str(logs)], env=environment)
    server.start()
    pages = []
    try:
        contents: list[object] = [
            *(canary, canary + "\x00", canary + "\ud800", canary * 1_000, [canary], {canary: 1}, 1)
        ]
        async with opened(server.port) as raw:
            for content in contents:
                for changed in ({}, {"to": "a b"}, {"ref": ""}, {"type": "x"}, {"retry": canary}):
                    await raw.ask(send(content=content, **changed))
                    await raw.ask('{"type":"ping"}')
            for text in (
                canary,
                f'"{canary}',
                send(content=canary)[:-1],
                send(more={canary: [canary]}),
            ):
                await raw.ask(text)
        payload = send(content=canary).encode()
        for data in (
            *(frame(TEXT, payload, rsv=1), frame(BINARY, payload), frame(TEXT, payload + b"\xff")),
            *(
                frame(TEXT, payload * 1_000),
                frame(TEXT, payload, masked=False),
                frame(0xB, payload),
            ),
            *(frame(PING, canary.encode(), fin=False), close(2000, canary.encode())),
            *(close(1000, canary.encode()), frame(TEXT, payload, fin=False) + frame(TEXT, payload)),
        ):
            await broken_close_code(server, data)
        async with opened(server.port) as raw:
            await raw.write(frame(TEXT, payload)[:-10])  # cut in the middle of a frame
        async with Peer(server.ws_url, "bob", acks=False) as bob:
            await until(lambda: bool(bob.messages), "bob has one")
        pages.append(server.get("/metrics")[1])
        assert server.stop() == 0

        record = {"v": 1, "status": "UNDELIVERED", "message_id": canary, "content": canary}
        with contextlib.closing(sqlite3.connect(server.data_dir / "landline.db")) as database:
            for value in (canary, json.dumps(record), json.dumps({**record, "message_id": ID})):
                database.execute(
                    "INSERT INTO log (time_ms, key, value) VALUES (0, 'x', ?)", (value.encode(),)
                )
            database.commit()
        server.start()
        await until(lambda: server.log().count("record_quarantined") == 3, "all are quarantined")
        pages.append(server.get("/metrics")[1])
        async with Peer(server.ws_url, "bob") as bob:
            await until(lambda: bool(bob.messages), "bob has the message all the same")
        assert server.stop() == 0
    finally:
        server.kill()
    written = server.log() + "".join(path.read_text() for path in logs.iterdir())
    assert written.count("connection_closed") > 20
    assert canary not in written
    assert all(page and canary not in page for page in pages)
