"""The reference fold agrees with the server's, which was written by others from the same page."""

from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from landline.model import Entry, Position, Stretch
from landline.protocol.fold import fold as servers_fold
from landline.protocol.records import MessageRecord, ReceiptRecord
from landline_verify.checker.fold import conversation_of, fold
from landline_verify.history import events as e

IDS = [f"2214be8f-d5fb-8ff7-adf5-00000000000{n}" for n in range(4)]
LOGS = st.lists(
    st.one_of(
        st.sampled_from(IDS),
        st.tuples(st.lists(st.sampled_from(IDS), min_size=1, max_size=3), st.sampled_from("bc")),
    ),
    max_size=12,
)


@given(LOGS, st.randoms(use_true_random=False))
def test_both_folds_agree_in_whatever_order_the_records_are_read(
    log: Sequence[str | tuple[list[str], str]], chance: Random
) -> None:
    records: list[e.Record] = []
    entries: list[Entry] = []
    for offset, item in enumerate(log):
        if isinstance(item, str):
            records.append(e.MessageRecord(0.0, 0, offset, item, "a", ("b",), "dm:a:b", "digest"))
            value = MessageRecord(item, None, "dm:a:b", "a", ("b",), "text", "t").encode()
        else:
            ids, user = item
            records.append(e.ReceiptsRecord(0.0, 0, offset, tuple(ids), user, "dm:a:b"))
            value = ReceiptRecord(ids, "dm:a:b", user, "t").encode()
        entries.append(Entry(Position(0, offset), 0, "dm:a:b", value))
    chance.shuffle(records)
    ours = fold(records)
    theirs = servers_fold(Stretch(0, 0, len(entries), tuple(entries)))
    assert {id: record.offset for id, record in ours.messages.items()} == {
        message.id: message.position.offset for message in theirs.messages
    }
    assert ours.receipts == {(each.message_id, each.recipient) for each in theirs.receipts}


def test_a_conversation_has_its_names_in_code_point_order() -> None:
    """Not in that of UTF-16 units, in which a name beyond U+FFFF would come first."""
    assert conversation_of("b", "a") == "dm:a:b"
    assert conversation_of("\U0001f600", "\ufb01") == "dm:\ufb01:\U0001f600"
    assert conversation_of("a", "a") == "dm:a:a"
