"""Frames that are wrong, or just within the limits: the error says what is wrong, and no more.

The expected answers are the protocol's, not what the code happens to do.
"""

import contextlib
import json
import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from support.frames import CONTENT_BYTES, EMOJI, FRAME_BYTES, ID, ping, send
from support.peer import Peer, until_caught_up
from support.raw import opened
from support.server import ServerProcess
from support.waiting import until


class Bad(NamedTuple):
    """A frame, and the answer that it deserves."""

    text: str
    code: str
    outcome: str | None = None
    ref: str | None = None


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

BAD_IDS: list[object] = [
    *(..., None, ID, 42, {}, {ID: ID}, [1], [None], [[]], [[ID]], [{}], [""], ["x"], [True]),
    *([ID.upper()], [f"{{{ID}}}"], [f"urn:uuid:{ID}"], [ID.replace("-", "")], [ID + "0"]),
    *([ID[:-1] + "g"], [ID, "x"], [ID] * 257),
]

UNKNOWN_TYPES = ["hello", "", "SEND", "send ", "ping\x00", "message", "accepted", "welcome"]

BAD_TOKENS: list[object] = [..., None, 42, True, ["t"], {}, "\ud800"]

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
    *(
        Bad(json.dumps({"type": "auth"} | ({} if token is ... else {"token": token})), "bad_frame")
        for token in BAD_TOKENS
    ),
    Bad('{"type":"auth","token":""}', "forbidden"),  # a token, at a server without sign-in
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
