"""Hostile and broken clients against a real server: it says what is wrong, and lives on.

The expected answers are the protocol's, not what the code happens to do.
"""

import asyncio
import contextlib
import json
import re
import signal
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from support.peer import Peer, until_caught_up
from support.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, opened
from support.server import ServerProcess
from support.waiting import paced, until

FRAME_BYTES = 65_536
CONTENT_BYTES = 16_384
EMOJI = "\U0001f600"  # 4 bytes of UTF-8

# What an attacker may cost while it attacks: buffers, a message in pieces, a parser's stack. What
# is refused at its header is not even buffered.
ATTACKERS = 30
ATTACKER_BYTES = 2 * 1024 * 1024
REFUSED_BYTES = 256 * 1024


class Bad(NamedTuple):
    """A frame, and the answer that it deserves."""

    text: str
    code: str
    outcome: str | None = None
    ref: str | None = None


def send(**fields: object) -> str:
    """Return a send to bob, with some fields changed; `...` leaves a field out."""
    whole = {"type": "send", "to": "bob", "content": "never", "ref": "r", **fields}
    return json.dumps({name: value for name, value in whole.items() if value is not ...})


def ping(more: str) -> str:
    """Return a ping with one more member, as it is written."""
    return f'{{"type":"ping","more":{more}}}'


# No send is concerned, so there is neither outcome nor ref.
NO_SEND = [
    *("", " ", "hello", "null", "true", "42", "-", '"ping"', "[]", '[{"type":"ping"}]', "{}"),
    *("{", "}", '{"type"}', "{'type':'ping'}", '{"type":"ping",}', '{type:"ping"}', "\x00"),
    *('{"type":"ping"}{"type":"ping"}', '{"type":"ping"}\x00', '\ufeff{"type":"ping"}'),
    *('{"type":1}', '{"type":null}', '{"type":true}', '{"type":["ping"]}', '{"type":{}}'),
    *('{"type":"ping","type":"ping"}', ping('{"a":1,"a":2}'), ping("'single'")),
    *(ping("NaN"), ping("Infinity"), ping("-Infinity"), ping("1e999"), ping("01"), ping("+1")),
    *(ping("9" * 30), ping("-" + "9" * 30), ping("9" * 5_000), ping("0x10"), ping('"\t"')),
    *(ping('"\\ud800"'), ping('"\\udc00\\ud800"'), ping('{"\\udfff":1}'), ping('"\\x00"')),
    *(ping("[" * 17 + "]" * 17), ping('{"a":' * 17 + "1" + "}" * 17)),
    *(ping("[" * 10_000 + "]" * 10_000), ping('{"a":' * 10_000 + "1" + "}" * 10_000)),
    *("[" * 10_000, "[" * 10_000 + "]" * 10_000),
]
ID = "0190d5a4-5b1c-8c3e-9c0d-0123456789ab"
BAD_IDS: list[object] = [
    *(..., None, ID, 42, {}, {ID: ID}, [1], [None], [[]], [[ID]], [{}], [""], ["x"], [True]),
    *([ID.upper()], [f"{{{ID}}}"], [f"urn:uuid:{ID}"], [ID.replace("-", "")], [ID + "0"]),
    *([ID[:-1] + "g"], [ID, "x"], [ID] * 257),
]
UNKNOWN_TYPES = ["hello", "", "SEND", "send ", "ping\x00", "message", "accepted", "welcome", "auth"]
BAD_NAMES = [
    *("", " ", "bo b", " bob", "bob ", "bo\tb", "bob\n", "bo\rb", "\u00a0bob", "bo\u2003b"),
    *("bob\u3000", "bo\u2028b", "bob:", ":", "dm:bob", "a/b", "/", "bo\x01b", "bo\x7fb"),
    *("bo\x85b", "\x00", "bob\x00", "e\u0301", "\u212b", "\u1100\u1161", "x" * 65, "é" * 33),
    *(EMOJI * 17, "x" * 10_000),
]
BAD_REFS = ["", "r" * 65, "é" * 33, "a\x00", EMOJI * 17]
NOT_TEXT: list[object] = [42, 0, 1.5, None, True, [], ["bob"], {}, {"name": "bob"}]

REJECTED = "rejected"
BAD_FRAMES = [
    *(Bad(text, "bad_frame") for text in NO_SEND),
    *(Bad(json.dumps({"type": kind}), "unknown_type") for kind in UNKNOWN_TYPES),
    *(
        Bad(json.dumps({"type": "ack"} | ({} if ids is ... else {"ids": ids})), "bad_frame")
        for ids in BAD_IDS
    ),
    # From here on a send is concerned: its sender is told that it is not in the log.
    *(Bad(send(to=to), "bad_recipient", REJECTED, "r") for to in BAD_NAMES),
    *(Bad(send(to=to), "bad_frame", REJECTED, "r") for to in [..., *NOT_TEXT]),
    *(Bad(send(content=content), "bad_frame", REJECTED, "r") for content in [..., *NOT_TEXT]),
    *(Bad(send(ref=ref), "bad_frame", REJECTED) for ref in NOT_TEXT if ref is not None),
    *(Bad(send(ref=ref), "bad_ref", REJECTED) for ref in BAD_REFS),
    *(Bad(send(retry=retry), "bad_frame", REJECTED, "r") for retry in ["true", 1, 0, [], {}]),
    Bad(send(to=..., content=...), "bad_frame", REJECTED, "r"),
    Bad(send(type=..., to=42), "bad_frame", REJECTED, "r"),
    Bad(send(type=..., to="a b"), "bad_recipient", REJECTED, "r"),
    Bad(send(type=..., content=""), "content_empty", REJECTED, "r"),
    Bad(send(type=..., ref=..., content=""), "content_empty", REJECTED),
    Bad(send(content=""), "content_empty", REJECTED, "r"),
    Bad(send(content="x" * (CONTENT_BYTES + 1)), "content_too_large", REJECTED, "r"),
    Bad(send(content=EMOJI * 4096 + "x"), "content_too_large", REJECTED, "r"),
    Bad(send(content="é" * 8192 + "x"), "content_too_large", REJECTED, "r"),
    Bad(send(content="x" * 60_000), "content_too_large", REJECTED, "r"),
    Bad(send(content="ne\x00ver"), "bad_frame", REJECTED, "r"),
    Bad(send(content="never\ud800"), "bad_frame", REJECTED, "r"),
    Bad(send(content="\udc00\ud800never"), "bad_frame", REJECTED, "r"),
    Bad(send(to="bob\ud800"), "bad_frame", REJECTED, "r"),
    Bad(send(ref="r\ud800"), "bad_frame", REJECTED),
    Bad(send(more=float("nan")), "bad_frame", REJECTED, "r"),
    Bad(send(more=float("inf")), "bad_frame", REJECTED, "r"),
    Bad(send(more=2**64), "bad_frame", REJECTED, "r"),
    Bad(send(more=-(2**63) - 1), "bad_frame", REJECTED, "r"),
    Bad(send()[:-1] + ',"more":' + "[" * 100 + "]" * 100 + "}", "bad_frame", REJECTED, "r"),
    Bad(send(more="x" * 4_097), "bad_frame", REJECTED, "r"),
    Bad(send(more=[0] * 20_000), "bad_frame", REJECTED, "r"),
    Bad(send()[:-1] + ',"to":"eve"}', "bad_frame", REJECTED, "r"),
    Bad(send()[:-1] + ',"content":"never"}', "bad_frame", REJECTED, "r"),
]  # fmt: skip

# The other side of each border: these are accepted.
GOOD_SENDS = [
    send(),
    send(type=..., content="no type"),
    send(ref=...),
    send(ref="r" * 64),
    send(ref="é" * 32),
    send(ref="white space: and / so on"),
    send(retry=False, content="no retry"),
    send(content="x" * CONTENT_BYTES),
    send(content=EMOJI * 4095 + "xxx"),
    send(content=EMOJI * 4096),
    send(content="é" * 8192),  # 48 KiB of escapes, 16 KiB of text
    send(content=" \t\n\x01\x7f\u2028\ufeff"),
    send(to="x" * 64),
    send(to="é" * 32),
    send(to=EMOJI * 16),
    send(to="\u00c5"),
    send(to="raw"),
    send(ref="more", more=[2**63, -(2**63), 1.5, None, {"a": [{}]}]),
    send(ref="deep")[:-1] + ',"more":' + "[" * 15 + "]" * 15 + "}",
    send(ref="4 KiB", more="x" * 4_000),
    send(ref="a")[:-1] + " " * (FRAME_BYTES - len(send())) + "}",
]


def test_the_table_is_what_it_says() -> None:
    """The frames of the table differ, and the one at the limit is at the limit."""
    assert len({bad.text for bad in BAD_FRAMES}) == len(BAD_FRAMES) >= 60
    assert len(GOOD_SENDS[-1].encode()) == FRAME_BYTES


async def test_every_bad_frame_gets_its_error_and_the_connection_lives_on(
    server: ServerProcess,
) -> None:
    """Right code, outcome and ref; a good send after each is accepted; nothing bad is stored."""
    wrong = []
    async with opened(server.port) as raw:
        for number, bad in enumerate(BAD_FRAMES):
            answer = await raw.ask(bad.text)
            got = (answer.get("code"), answer.get("outcome"), answer.get("ref"))
            if got != bad[1:]:
                wrong.append(f"{bad.text[:80]}: {got}, not {bad[1:]}")
            assert answer["type"] != "error" or answer["message"]
            good = await raw.ask(send(content=f"good {number}", ref=f"good {number}"))
            assert good["type"] == "accepted", f"after {bad.text[:80]}: {good}"
    assert wrong == []
    async with Peer(server.ws_url, "bob") as bob:
        await until_caught_up(bob)
        expected = [f"good {number}" for number in range(len(BAD_FRAMES))]
        assert [message["content"] for message in bob.messages] == expected
    with contextlib.closing(sqlite3.connect(server.data_dir / "landline.db")) as database:
        assert not database.execute("SELECT * FROM log WHERE value LIKE '%never%'").fetchall()
        assert not database.execute("SELECT * FROM quarantine").fetchall()


async def test_what_is_just_within_the_limits_is_accepted_and_arrives_unchanged(
    server: ServerProcess,
) -> None:
    """The largest and strangest content, names and refs that the protocol allows."""
    async with opened(server.port) as raw:
        for text in GOOD_SENDS:
            sent = json.loads(text)
            answer = await raw.ask(text)
            assert answer["type"] == "accepted", f"{text[:80]}: {answer}"
            assert answer.get("ref") == sent.get("ref")
            await arrived(server, sent["to"], answer["id"], sent["content"])


async def arrived(server: ServerProcess, user: str, id: str, content: str) -> None:
    """Wait until a user has this message, with this content."""
    async with Peer(server.ws_url, user) as peer:
        await until(lambda: id in peer.received, f"{content[:80]} has arrived")
        (message,) = [one for one in peer.messages if one["id"] == id]
        assert message["content"] == content


async def test_the_twentieth_bad_frame_in_a_row_closes(server: ServerProcess) -> None:
    """Any good frame resets the count; the twentieth is still answered, then 1008."""
    good: list[Callable[[int], str]] = [
        lambda n: send(ref=f"good {n}"),
        lambda n: '{"type":"ping"}',
    ]
    async with opened(server.port) as raw:
        for number in range(6):
            for _ in range(19):
                assert (await raw.ask("bad"))["code"] == "bad_frame"
            answer = await raw.ask(good[number % 2](number))
            assert answer["type"] in ("accepted", "pong")
        for number in range(20):
            answer = await raw.ask(BAD_FRAMES[number * 5].text)
            assert answer["type"] == "error"
        assert await raw.close_code() == 1008


# --- WebSocket ------------------------------------------------------------------------------------


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


async def test_whoever_breaks_the_websocket_protocol_is_told_the_right_close_code(
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


async def test_a_second_signal_ends_a_drain_that_a_client_holds_up(server: ServerProcess) -> None:
    """A client that does not answer the goodbye costs seconds; a second SIGTERM does not wait."""
    async with opened(server.port) as raw:
        server.signal(signal.SIGTERM)
        await until(lambda: '"draining"' in server.log(), "the server drains")
        assert await raw.close_code() == 1012
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, 30) == 128 + signal.SIGTERM


# --- acknowledgements -----------------------------------------------------------------------------


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


# --- the canary -----------------------------------------------------------------------------------


async def test_a_content_never_appears_in_logs_or_metrics(tmp_path: Path) -> None:
    """Whatever fails: bad frames, broken sockets, a record that cannot be applied, a refused
    upgrade. Looks at standard output, the log file and the metrics.
    """
    canary = f"canary{uuid.uuid4().hex}"
    logs = tmp_path / "logs"
    server = ServerProcess(tmp_path / "data", args=["--log-dir", str(logs)])
    server.start()
    pages = []
    try:
        contents: list[object] = [
            *(canary, canary + "\x00", canary + "\ud800", canary * 1_000, [canary], {canary: 1}, 1),
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
            await until(lambda: bool(bob.messages), "bob has his message all the same")
        assert server.stop() == 0
    finally:
        server.kill()
    written = server.log() + "".join(path.read_text() for path in logs.iterdir())
    assert written.count("connection_closed") > 20
    assert canary not in written
    assert all(page and canary not in page for page in pages)
