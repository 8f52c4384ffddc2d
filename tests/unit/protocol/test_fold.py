"""The fold: what a stretch of the log comes to does not depend on how often and in which pieces
it is read.
"""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from landline.model import Batch, Entry, Message, Position, Quarantined, Receipt, Stretch
from landline.protocol.fold import fold
from landline.protocol.records import MessageRecord, ReceiptRecord

IDS = [f"2214be8f-d5fb-8ff7-adf5-00000000000{n}" for n in range(4)]


def message(id: str) -> bytes:
    """Return the record of a message. What is in it is decided by its id, as in life."""
    return MessageRecord(id, "r1", "dm:a:b", "a", ("b",), f"text of {id}", "t").encode()


def receipts(ids: Sequence[str], at: str) -> bytes:
    """Return a record of receipts."""
    return ReceiptRecord(ids, "dm:a:b", "b", at).encode()


def entries(values: Sequence[bytes], start: int = 0) -> list[Entry]:
    """Return values as they are read back from the log."""
    return [
        Entry(Position(0, offset), 1_000 + offset, "dm:a:b", value)
        for offset, value in enumerate(values, start)
    ]


def stretch(start: int, of: Sequence[Entry]) -> Stretch:
    """Return entries without a hole as one stretch."""
    return Stretch(0, start, start + len(of), tuple(of))


VALUES = st.lists(
    st.one_of(
        st.sampled_from(IDS).map(message),
        st.builds(
            receipts,
            st.lists(st.sampled_from(IDS), min_size=1, max_size=4),
            st.sampled_from(["t1", "t2", "t3"]),
        ),
        st.sampled_from([b"", b"[]", b'{"v":2}', b'{"v":1,"status":"READ"}']),
    ),
    max_size=12,
)


def apply(messages: dict[str, Message], done: dict[tuple[str, str], Receipt], batch: Batch) -> None:
    """Apply a batch as a store does: a message that is there stays, a receipt only gets earlier."""
    for new in batch.messages:
        messages.setdefault(new.id, new)
    for receipt in batch.receipts:
        key = (receipt.message_id, receipt.recipient)
        done[key] = min(done.get(key, receipt), receipt, key=lambda each: each.delivered_at)


def test_a_message_stands_where_its_first_record_stands() -> None:
    batch = fold(stretch(5, entries([message(IDS[0]), message(IDS[1]), message(IDS[0])], 5)))
    assert [(m.id, m.position, m.time_ms) for m in batch.messages] == [
        (IDS[0], Position(0, 5), 1_005),
        (IDS[1], Position(0, 6), 1_006),
    ]
    assert (batch.start, batch.end) == (5, 8)


def test_a_receipt_counts_before_its_message_and_after_it() -> None:
    early = fold(stretch(0, entries([receipts([IDS[0]], "t1"), message(IDS[0])])))
    late = fold(stretch(0, entries([message(IDS[0]), receipts([IDS[0]], "t1")])))
    assert early.receipts == late.receipts == (Receipt(IDS[0], "b", "t1"),)


def test_of_two_receipts_the_earlier_counts_wherever_the_log_is_cut() -> None:
    """As the stores do: what the log comes to must not depend on the pieces it is read in."""
    log = entries([receipts([IDS[0]], "t2"), receipts([IDS[0]], "t1"), receipts([IDS[0]], "t3")])
    assert fold(stretch(0, log)).receipts == (Receipt(IDS[0], "b", "t1"),)


def test_a_record_that_can_never_be_applied_stops_nothing_and_is_kept_with_its_place() -> None:
    batch = fold(stretch(0, entries([message(IDS[0]), b"garbage", message(IDS[1])])))
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
        for offset, value in enumerate([message(IDS[0]), message(IDS[1]), message(IDS[2])])
    ]
    batch = fold(stretch(0, stamped))
    assert [each.id for each in batch.messages] == [IDS[0], IDS[2]]
    (bad,) = batch.quarantined
    assert (bad.position, bad.value) == (Position(0, 1), message(IDS[1]))
    assert f"its time ({time_ms} ms since 1970)" in bad.reason


def test_a_stretch_without_entries_is_got_past() -> None:
    assert fold(Stretch(2, 9, 12, ())) == Batch(2, 9, 12)


@given(VALUES, st.lists(st.integers(0, 12)))
def test_in_whichever_pieces_the_log_is_read_it_comes_to_the_same(
    values: list[bytes], cuts: list[int]
) -> None:
    log = entries(values)
    messages: dict[str, Message] = {}
    done: dict[tuple[str, str], Receipt] = {}
    apply(messages, done, fold(stretch(0, log)))

    pieces = sorted({0, len(log), *(cut for cut in cuts if cut <= len(log))})
    some_messages: dict[str, Message] = {}
    some_done: dict[tuple[str, str], Receipt] = {}
    quarantined: list[Quarantined] = []
    for start, end in pairwise(pieces):
        piece = fold(stretch(start, log[start:end]))
        assert (piece.start, piece.end) == (start, end)
        apply(some_messages, some_done, piece)
        quarantined += piece.quarantined
    assert (some_messages, some_done) == (messages, done)
    assert tuple(quarantined) == fold(stretch(0, log)).quarantined


@given(VALUES, st.integers(0, 12))
def test_reading_a_stretch_again_changes_nothing(values: list[bytes], back: int) -> None:
    """A crash between applying and noting the position: the writer starts from further back."""
    log = entries(values)
    messages: dict[str, Message] = {}
    done: dict[tuple[str, str], Receipt] = {}
    apply(messages, done, fold(stretch(0, log)))
    before = (dict(messages), dict(done))
    apply(messages, done, fold(stretch(min(back, len(log)), log[back:])))
    assert (messages, done) == before


@given(VALUES)
def test_records_appended_again_change_nothing_but_the_end(values: list[bytes]) -> None:
    """A repeated send or receipt is a second record of the same fact."""
    once = fold(stretch(0, entries(values)))
    twice = fold(stretch(0, entries(values + values)))
    assert twice.messages == once.messages
    assert twice.receipts == once.receipts
    assert twice.end == 2 * once.end
