"""The fold: what a stretch of the log comes to does not depend on how often and in which pieces
it is read.
"""

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.model import (
    Batch,
    DeviceChange,
    Entry,
    EventKind,
    History,
    Mailbox,
    MemberChange,
    MemberStep,
    Position,
    Read,
    Receipt,
    Role,
    RoomChange,
    Stretch,
)
from landline.protocol.fold import fold
from landline.protocol.records import (
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptEntry,
    ReceiptRecord,
    RoomRecord,
)
from support.events import random_logs
from support.tables import Tables

IDS = [f"2214be8f-d5fb-8ff7-adf5-00000000000{n}" for n in range(4)]
ROOM = f"room:{IDS[3]}"
BOB = Mailbox("b")


def message(id: str) -> bytes:
    """Return the record of a message. What is in it is decided by its id, as in life."""
    return MessageRecord(id, "r1", "dm:a:b", "a", ("b",), f"text of {id}", "t").encode()


def receipts(ids: Sequence[str], at: str) -> bytes:
    """Return a record of receipts."""
    return ReceiptRecord("dm:a:b", (ReceiptEntry("b", None, ids),), at).encode()


def receipts_2(*entries: tuple[str, str | None, Sequence[str]], at: str = "t") -> bytes:
    """Return a record of receipts of several mailboxes."""
    return ReceiptRecord("dm:a:b", tuple(ReceiptEntry(*each) for each in entries), at).encode_2()


def reads(*entries: tuple[str, int]) -> bytes:
    """Return a record of reads."""
    return ReadRecord("dm:a:b", entries).encode_2()


ADDED = MemberRecord(IDS[1], None, ROOM, "a", "phone", "b", MemberStep.ADD, Role.ADMIN, "t")
MADE = RoomRecord(IDS[0], None, ROOM, "a", None, "Ideas", History.ALL, ("a", "c"), "t")
TITLED = RoomRecord(IDS[2], None, ROOM, "a", None, None, None, None, "t")
BEGUN = DeviceRecord("b", "phone", True)
CHANGES = [each.encode_2() for each in (ADDED, MADE, TITLED, BEGUN)]


def entries(values: Sequence[bytes], start: int = 0) -> list[Entry]:
    """Return values as they are read back from the log."""
    return [
        Entry(Position(0, offset), 1_000 + offset, "dm:a:b", value)
        for offset, value in enumerate(values, start)
    ]


def stretch(start: int, of: Sequence[Entry]) -> Stretch:
    """Return entries without a hole as one stretch."""
    return Stretch(0, start, start + len(of), tuple(of))


def fold_one(*values: bytes) -> Batch:
    """Return the one batch that these come to."""
    [batch] = fold(stretch(0, entries(values)))
    return batch


GARBAGE = [b"", b"[]", b'{"v":3}', b'{"v":1,"status":"READ"}', b'{"v":2,"kind":"typing"}']
VALUES = st.lists(
    st.one_of(
        st.sampled_from(IDS).map(message),
        st.builds(
            receipts,
            st.lists(st.sampled_from(IDS), min_size=1, max_size=4),
            st.sampled_from(["t1", "t2", "t3"]),
        ),
        st.builds(
            lambda user, device, ids: receipts_2((user, device, ids)),
            st.sampled_from("ab"),
            st.sampled_from([None, "", "phone"]),
            st.lists(st.sampled_from(IDS), min_size=1, max_size=4),
        ),
        st.builds(
            lambda user, offset: reads((user, offset)), st.sampled_from("ab"), st.integers(0, 9)
        ),
        st.sampled_from(CHANGES),
        st.sampled_from(GARBAGE),
    ),
    max_size=14,
)

# One piece -----------------------------------------------------------------------------------


def test_a_message_stands_where_its_first_record_stands() -> None:
    [batch] = fold(stretch(5, entries([message(IDS[0]), message(IDS[1]), message(IDS[0])], 5)))
    assert [(m.id, m.position, m.time_ms) for m in batch.messages] == [
        (IDS[0], Position(0, 5), 1_005),
        (IDS[1], Position(0, 6), 1_006),
    ]
    assert (batch.start, batch.end) == (5, 8)


def test_a_message_brings_what_its_record_says() -> None:
    record = MessageRecord(
        IDS[0], "r1", "dm:a:b", "a", ("b",), "hello", "t", device="phone", data='{"x":1}'
    )
    [found] = fold_one(record.encode_2()).messages
    assert (found.sender, found.recipients, found.content) == ("a", ("b",), "hello")
    assert (found.kind, found.device, found.data) == (EventKind.MESSAGE, "phone", '{"x":1}')
    [found] = fold_one(message(IDS[0])).messages
    assert (found.kind, found.device, found.data) == (EventKind.MESSAGE, None, None)


def test_a_receipt_says_where_it_stands_for_it_counts_for_what_lies_before() -> None:
    early = fold_one(receipts([IDS[0]], "t1"), message(IDS[0]))
    late = fold_one(message(IDS[0]), receipts([IDS[0]], "t1"))
    assert early.receipts == (Receipt(IDS[0], BOB, "t1", 0),)
    assert late.receipts == (Receipt(IDS[0], BOB, "t1", 1),)


def test_of_two_receipts_of_a_mailbox_the_last_place_and_the_first_time_count() -> None:
    """The last place, because a message may lie between them."""
    values = [receipts([IDS[0]], at) for at in ("t2", "t1", "t3")]
    assert fold_one(*values).receipts == (Receipt(IDS[0], BOB, "t1", 2),)


def test_each_mailbox_has_receipts_of_its_own() -> None:
    values = [
        receipts_2(("b", "phone", IDS[:2]), ("b", "", IDS[:1]), ("a", "phone", IDS[:1])),
        receipts(IDS[:1], "t"),
    ]
    assert set(fold_one(*values).receipts) == {
        Receipt(IDS[0], Mailbox("b", "phone"), "t", 0),
        Receipt(IDS[1], Mailbox("b", "phone"), "t", 0),
        Receipt(IDS[0], Mailbox("b", ""), "t", 0),
        Receipt(IDS[0], Mailbox("a", "phone"), "t", 0),
        Receipt(IDS[0], BOB, "t", 1),
    }


def test_the_furthest_read_counts_but_none_goes_beyond_its_own_record() -> None:
    batch = fold_one(reads(("a", 0), ("b", 7)), reads(("a", 1)), reads(("a", 0), ("b", 0)))
    assert set(batch.reads) == {Read("dm:a:b", "a", 1), Read("dm:a:b", "b", 0)}


def test_a_record_that_can_never_be_applied_stops_nothing_and_is_kept_with_its_place() -> None:
    batch = fold_one(message(IDS[0]), b"garbage", message(IDS[1]))
    assert [m.id for m in batch.messages] == IDS[:2]
    (bad,) = batch.quarantined
    assert (bad.position, bad.value) == (Position(0, 1), b"garbage")
    assert "not JSON" in bad.reason
    assert batch.end == 3


@given(st.integers().filter(lambda time_ms: not 0 <= time_ms <= 253_402_300_799_999))
def test_a_record_whose_time_nobody_can_tell_is_kept_with_its_place(time_ms: int) -> None:
    """A topic that takes times from its senders takes any number."""
    stamped = [
        Entry(Position(0, offset), time_ms if offset == 1 else offset, "dm:a:b", value)
        for offset, value in enumerate([message(IDS[0]), ADDED.encode_2(), message(IDS[2])])
    ]
    [batch] = fold(stretch(0, stamped))
    assert [each.id for each in batch.messages] == [IDS[0], IDS[2]]
    (bad,) = batch.quarantined
    assert (bad.position, bad.value) == (Position(0, 1), ADDED.encode_2())
    assert f"its time ({time_ms} ms since 1970)" in bad.reason


def test_a_stretch_without_entries_is_got_past() -> None:
    assert fold(Stretch(2, 9, 12, ())) == [Batch(2, 9, 12)]
    assert fold(Stretch(2, 9, 9, ())) == [Batch(2, 9, 9)]


# Changes -------------------------------------------------------------------------------------


def test_a_change_stands_alone_with_its_event() -> None:
    log = [message(IDS[0]), receipts(IDS[:1], "t"), ADDED.encode_2(), message(IDS[2]), b"garbage"]
    before, change, after = fold(stretch(0, entries(log)))
    assert (before.start, before.end, len(before.messages), len(before.receipts)) == (0, 2, 1, 1)
    assert (after.start, after.end, len(after.messages), len(after.quarantined)) == (3, 5, 1, 1)
    assert before.change is after.change is None
    [event] = change.messages
    assert change == Batch(0, 2, 3, (event,), change=change.change)
    assert change.change == MemberChange(ROOM, "b", MemberStep.ADD, Role.ADMIN)
    assert (event.id, event.conversation, event.sender, event.device) == (
        IDS[1],
        ROOM,
        "a",
        "phone",
    )
    assert (event.position, event.time_ms) == (Position(0, 2), 1_002)
    assert (event.kind, event.recipients, event.content) == (EventKind.MEMBER, (), "")
    assert event.data == '{"user":"b","change":"add","role":"admin"}'


def test_a_room_that_is_made_or_has_another_title() -> None:
    made, titled = fold(stretch(0, entries([MADE.encode_2(), TITLED.encode_2()])))
    assert made.change == RoomChange(ROOM, "Ideas", History.ALL, ("a", "c"))
    assert titled.change == RoomChange(ROOM, None, None, None)
    for batch, data in ((made, '{"title":"Ideas"}'), (titled, '{"title":null}')):
        [event] = batch.messages
        assert (event.kind, event.content, event.data) == (EventKind.ROOM, "", data)
        assert event.recipients == ()


def test_a_device_has_no_event() -> None:
    ended = DeviceRecord("b", "", False).encode_2()
    assert fold(stretch(4, entries([BEGUN.encode_2(), ended], 4))) == [
        Batch(0, 4, 5, change=DeviceChange("b", "phone", True, 4)),
        Batch(0, 5, 6, change=DeviceChange("b", "", False, 5)),
    ]


def test_holes_around_a_change_belong_to_what_is_beside_it() -> None:
    [entry] = entries([BEGUN.encode_2()], 5)
    batches = fold(Stretch(0, 3, 9, (entry,)))
    assert [(each.start, each.end) for each in batches] == [(3, 5), (5, 6), (6, 9)]
    assert [each.change is None for each in batches] == [True, False, True]


def test_a_change_that_can_never_be_applied_is_no_change() -> None:
    bad = ADDED.encode_2().replace(b'"admin"', b'"owner"')
    batch = fold_one(message(IDS[0]), bad, message(IDS[2]))
    assert len(batch.messages) == 2
    assert [each.position.offset for each in batch.quarantined] == [1]


@given(VALUES, st.integers(0, 3), st.integers(0, 3))
def test_batches_follow_one_another_and_cover_the_stretch(
    values: list[bytes], start: int, hole: int
) -> None:
    read = Stretch(0, start, start + len(values) + hole, tuple(entries(values, start)))
    batches = fold(read)
    assert (batches[0].start, batches[-1].end) == (read.start, read.end)
    assert all(one.end == other.start for one, other in pairwise(batches))
    assert sum(each.change is not None for each in batches) == sum(v in CHANGES for v in values)
    for batch in batches:
        offsets = [each.position.offset for each in batch.messages]
        offsets += [each.position.offset for each in batch.quarantined]
        offsets += [each.offset for each in batch.receipts]
        assert all(batch.start <= offset < batch.end for offset in offsets)
        if batch.change is not None:
            assert batch.end == batch.start + 1
            assert not batch.receipts + batch.reads + batch.quarantined
            assert bool(batch.messages) != isinstance(batch.change, DeviceChange)


# Pieces --------------------------------------------------------------------------------------


def tables_of(pieces: Sequence[Stretch]) -> Tables:
    """Return what a store has when it has applied these."""
    tables = Tables()
    for piece in pieces:
        assert tables.apply(fold(piece))
    return tables


@given(VALUES, st.lists(st.integers(0, 14)))
def test_in_whichever_pieces_the_log_is_read_it_comes_to_the_same(
    values: list[bytes], cuts: list[int]
) -> None:
    log = entries(values)
    places = sorted({0, len(log), *(cut for cut in cuts if cut <= len(log))})
    pieces = [stretch(start, log[start:end]) for start, end in pairwise(places)]
    whole, cut = tables_of([stretch(0, log)]), tables_of(pieces)
    assert read_of(cut) == read_of(whole)
    assert cut.statuses() == whole.statuses()
    quarantined = [each for piece in pieces for batch in fold(piece) for each in batch.quarantined]
    assert quarantined == list(whole.quarantine.values())


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_in_a_log_it_can_be_cut_before_every_record(seed: int) -> None:
    [log] = random_logs(random.Random(seed), records=100).values()
    places = [0, *(each.position.offset for each in log if each.position.offset)]
    ends = [*places[1:], log[-1].position.offset + 1]
    pieces = [
        Stretch(0, start, end, tuple(each for each in log if start <= each.position.offset < end))
        for start, end in zip(places, ends, strict=True)
    ]
    whole, cut = tables_of([Stretch(0, 0, ends[-1], tuple(log))]), tables_of(pieces)
    assert cut.rows() == whole.rows()
    assert cut.statuses() == whole.statuses()


@given(VALUES)
def test_messages_and_receipts_appended_again_change_nothing_but_the_end(
    values: list[bytes],
) -> None:
    """A repeated send or receipt is a second record of the same fact."""
    once, twice = fold(stretch(0, entries(values))), fold(stretch(0, entries(values * 2)))
    assert twice[-1].end == 2 * once[-1].end
    if not set(CHANGES) & set(values):
        [before], [after] = once, twice
        assert after.messages == before.messages
        keys = [(each.message_id, each.mailbox, each.delivered_at) for each in before.receipts]
        again = [(each.message_id, each.mailbox, each.delivered_at) for each in after.receipts]
        assert again == keys


def read_of(tables: Tables) -> object:
    """Return the rows. Who has read what before a direct conversation had anything is left out: it
    says nothing, and only one of two pieces of the log may know of the conversation.
    """
    rows = dict(tables.rows())
    first = {name: min_offset(tables, name) for name in tables.conversations}
    rows["members"] = [
        (name, user, role, joined, max(read, first[name] - 1))
        for name, user, role, joined, read in rows["members"]
    ]
    return rows


def min_offset(tables: Tables, conversation: str) -> int:
    return min(
        each.position.offset
        for each in tables.messages.values()
        if each.conversation == conversation
    )


def test_a_quarantined_record_knows_its_bytes() -> None:
    batch = fold_one(*GARBAGE)
    assert [each.value for each in batch.quarantined] == GARBAGE
    assert all(each.reason for each in batch.quarantined)
