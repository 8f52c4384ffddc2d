"""The reference fold agrees with the stores' model, which others wrote from the same page."""

import random

import pytest

from landline_verify.checker.fold import Mailbox, conversation_of, fold
from landline_verify.dumps.records import described
from landline_verify.history import events as e
from support.events import in_pieces, random_logs
from support.tables import Tables


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("seed", range(40))
def test_both_come_to_the_same_in_whatever_order_the_records_are_read(
    seed: int, partitions: int
) -> None:
    chance = random.Random(seed)
    logs = random_logs(chance, partitions, 150)
    tables = Tables(partitions)
    for batches in in_pieces(chance, logs):
        tables.apply(batches)
    entries = [entry for log in logs.values() for entry in log]
    records = [described(each.value, 0.0, *each.position, prefix="") for each in entries]
    chance.shuffle(records)
    ours = fold(each for each in records if isinstance(each, e.Record))
    assert {id: (record.partition, record.offset) for id, record in ours.messages.items()} == {
        id: message.position for id, message in tables.messages.items()
    }
    assert {
        (id, *mailbox, is_received)
        for id, owed in ours.owed.items()
        for mailbox, is_received in owed.items()
    } == {
        (owed.message.id, *mailbox, owed.is_received)
        for mailbox, rows in tables.owed.items()
        for owed in rows.values()
    }
    assert {
        (id, user, "DELIVERED" if ours.is_delivered(id, user) else "UNDELIVERED")
        for id, message in ours.messages.items()
        for user in ours.recipients(message)
    } == set(tables.statuses())
    assert {
        (name, each.user, each.role, each.joined, each.read)
        for name, conversation in ours.conversations.items()
        for each in conversation.members.values()
    } == {
        (name, user, each.role, each.joined_offset, each.read_offset)
        for name, conversation in tables.conversations.items()
        for user, each in conversation.members.items()
    }


def test_a_receipt_counts_for_what_stands_before_it_in_its_partition() -> None:
    message = e.MessageRecord(0.0, 1, 5, "id", "a", ("b",), "dm:a:b", "digest")
    entries = (("b", None, ("id",)),)
    for place in ((1, 4), (0, 9)):
        assert fold([e.ReceiptsRecord(0.0, *place, entries, "dm:a:b"), message]).owed == {
            "id": {Mailbox("b", None): False}
        }
    assert fold([e.ReceiptsRecord(0.0, 1, 6, entries, "dm:a:b"), message]).owed == {"id": {}}


def test_a_conversation_has_its_names_in_code_point_order() -> None:
    """Not in that of UTF-16 units, in which a name beyond U+FFFF would come first."""
    assert conversation_of("b", "a") == "dm:a:b"
    assert conversation_of("\U0001f600", "\ufb01") == "dm:\ufb01:\U0001f600"
    assert conversation_of("a", "a") == "dm:a:a"
