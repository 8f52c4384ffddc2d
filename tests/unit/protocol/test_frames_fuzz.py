"""Hostile frames against the decoder: it refuses or takes them, and what it takes can be kept."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landline.adapters.sqlite import Database, SqliteEventLog, SqliteMessageStore
from landline.delivery.requests import record_of
from landline.delivery.sender import Post
from landline.model import Appended, AppendResult, Mailbox, PendingQuery
from landline.protocol import client_frames, server_frames
from landline.protocol.client_frames import (
    Ack,
    Auth,
    BadFrame,
    ChangeMember,
    ChangeRoom,
    ClientFrame,
    Create,
    MarkRead,
    Send,
)
from landline.protocol.codes import Outcome
from landline.protocol.fold import fold
from landline.protocol.identity import is_message_id
from landline.protocol.records import MessageRecord, ReadRecord, decode_record
from landline.protocol.times import rfc3339

# What parsers, stores and logs are known to stumble over.
TOKENS = [
    "NaN", "-Infinity", "1e999", "9" * 20, "9" * 5000, "-", "null", "true", "[", "]", "{", "}", '"',
    ",", ":", "\\", "\\u0000", "\\ud800", "\\udc00", "\\ud83d\\ude00", "\x00", "\x1f", "\ufeff",
    "\u2028", "\u0301", "'", "[" * 40, "[" * 5000, '"type":', '"to":', '"ref":"r",', '"retry":1,',
    '"content":"\\ud800"', "\U0001f600" * 20, " ", "\n", "//", "--",
]  # fmt: skip
# In asyncio's debug mode, where they take longest, the loop is looked at and not the decoder.
EXAMPLES = 300 if os.environ.get("PYTHONASYNCIODEBUG") else 3_000
ID = "0190d5a4-5b1c-8c3e-9c0d-0123456789ab"

KINDS = ["ack", "ping", "create", "member", "room", "read", "list", "history", "members",
         "delivery", "message", ""]  # fmt: skip

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
# Every character, halves of surrogate pairs too: JSON can escape them.
wild_text = st.text(st.characters(), max_size=70)
names = st.text("aéß名😀.", min_size=1, max_size=20)
values = {
    "type": st.sampled_from(["send", "send", "send", *KINDS]),
    "to": names | names | wild_text | st.sampled_from(["bob", "e\u0301", "x" * 65]),
    "content": wild_text | st.just("\U0001f600" * 4096),
    "ref": wild_text | st.sampled_from(["r", "r" * 65]),
    "retry": st.booleans(),
    "ids": st.lists(st.just(ID) | wild_text, max_size=3),
}
# Of rooms and of reading. They are not in the sends that are to be kept.
more_values = {
    "conversation": st.sampled_from([f"room:{ID}", "dm:a:b", "dm:b:a", "room:x"]),
    "data": st.dictionaries(wild_text, anything, max_size=3),
    "title": wild_text,
    "members": st.lists(names, max_size=3),
    "history": st.sampled_from(["all", "joined", "x"]),
    "user": names,
    "change": st.sampled_from(["add", "remove", "role", "x"]),
    "role": st.sampled_from(["admin", "member", "x"]),
    "offset": st.integers(-1, 2**64),
    "before": st.integers(-1, 2**64),
    "after": st.integers(-1, 2**64) | wild_text,
    "limit": st.integers(-1, 101),
    "request": wild_text,
}
fields = st.fixed_dictionaries(
    {}, optional={name: good | good | good | anything for name, good in values.items()}
)
sends = st.fixed_dictionaries({name: values[name] for name in ("to", "content", "ref")})
texts = st.builds(
    lambda frame, is_ascii: json.dumps(frame, ensure_ascii=is_ascii),
    fields | sends,
    st.booleans(),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Draw the text of a frame with some of it cut, doubled, or replaced by something nasty."""
    text = draw(texts)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 12)))
        middle = draw(st.sampled_from(["", text[start:end] * 2, *TOKENS]) | wild_text)
        text = text[:start] + middle + text[end:]
    return text


def check(text: str) -> Send | None:
    """Decode; whatever comes of it must fit the protocol. Returns the send, if it is one."""
    try:
        frame = client_frames.decode(text)
    except BadFrame as bad:
        check_refusal(bad)
        return None
    if isinstance(frame, Ack):
        assert all(map(is_message_id, frame.ids))
    if not isinstance(frame, Send) or frame.conversation or frame.data is not None:
        check_taken(frame)
        return None
    return frame


def check_taken(frame: ClientFrame | Auth) -> None:
    """What a frame asks the log to keep is a record that every reader takes as it is."""
    if isinstance(frame, Send | Create | ChangeMember | ChangeRoom):
        record = record_of(Post("request", "alice"), frame, partial(str, ID), rfc3339(0))
        assert decode_record(record.encode_2()) == record
    elif isinstance(frame, MarkRead):
        marks = ReadRecord(frame.conversation, (("alice", frame.offset),))
        assert decode_record(marks.encode_2()) == marks
    else:
        orjson.dumps(getattr(frame, "request", None))  # the answer can be written


def check_refusal(bad: BadFrame) -> None:
    """A ref is named only to say that its request is rejected, and the answer can be written."""
    assert bad.outcome is Outcome.REJECTED or (bad.outcome is None and bad.ref is None)
    assert bad.outcome is None or bad.request is None
    answer: dict[str, Any] = orjson.loads(
        server_frames.error(
            bad.code, bad.message, outcome=bad.outcome, ref=bad.ref, request=bad.request
        )
    )
    assert answer["code"] == bad.code
    assert answer.get("ref") == bad.ref


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_at_every_place_of_a_frame_is_taken_or_refused(token: str) -> None:
    """No place of a frame makes the decoder raise anything but BadFrame."""
    text = '{"type":"send","to":"bob","content":"x","ref":"r","retry":false,"more":[1,{"a":"b"}]}'
    for place in range(len(text) + 1):
        check(text[:place] + token + text[place:])
        check(text[:place] + token + text[place + 1 :])


@settings(max_examples=EXAMPLES // 10)
@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(KINDS)},
        optional={
            name: good | good | good | anything
            for name, good in {**values, **more_values}.items()
            if name != "type"
        },
    )
)
def test_every_frame_is_taken_or_refused_and_what_is_for_the_log_can_be_kept(
    frame: dict[str, Any],
) -> None:
    check(json.dumps(frame))


async def test_what_is_taken_comes_back_from_the_store_unchanged(tmp_path: Path) -> None:
    """Mutated frames raise nothing but BadFrame; every send that passes is stored as it is."""
    taken: list[Send] = []

    @settings(max_examples=EXAMPLES)
    @given(mutated())
    def fuzz(text: str) -> None:
        if send := check(text):
            taken.append(send)

    fuzz()
    assert len(taken) > EXAMPLES // 100, "the frames are so broken that nothing is shown"
    database = Database(tmp_path, lambda why: None)
    try:
        event_log, store = SqliteEventLog(database), SqliteMessageStore(database)
        results: list[AppendResult] = []
        records: dict[str, tuple[Send, MessageRecord]] = {}
        for number, send in enumerate(taken):
            fresh_id = f"00000000-0000-4000-8000-{number:012x}"
            record = record_of(Post("request", "alice"), send, partial(str, fresh_id), rfc3339(0))
            assert isinstance(record, MessageRecord)
            records[record.message_id] = (send, record)
            event_log.append(record.conversation, record.encode(), results.append)
        await event_log.close()
        assert [result for result in results if not isinstance(result, Appended)] == []

        position = 0
        reader = await event_log.open_reader({})
        while position < len(taken):
            (stretch,) = await reader.read(1_000)
            for entry in stretch.entries:
                read = decode_record(entry.value)
                assert isinstance(read, MessageRecord)
                send, record = records[read.message_id]
                assert (read.recipients, read.content, read.ref) == (
                    (send.to,),
                    send.content,
                    record.ref,
                )
            batches = fold(stretch)
            assert all(batch.quarantined == () for batch in batches)
            assert await store.apply(batches)
            position = stretch.end

        for to in {send.to for send in taken}:
            sent = {id: send.content for id, (send, _) in records.items() if send.to == to}
            (pending,) = await store.pending([PendingQuery(Mailbox(to), {}, len(taken))])
            assert {message.id: message.content for message in pending.messages} == sent
            assert {message.recipients for message in pending.messages} == {(to,)}
    finally:
        await database.close()
