"""The store is the log, applied."""

from dataclasses import replace

from landline_verify.history import events as e
from support.tapes import (
    Tape,
    allowed,
    breaks,
)


@breaks("I9", at_a_message=False)
def test_an_offset_unaccounted_for(tape: Tape, ok: e.Ok) -> None:
    tape.drop(tape.spare_record())


@breaks("I9", at_a_message=False)
def test_an_offset_twice(tape: Tape, ok: e.Ok) -> None:
    spare = tape.spare_record()
    tape.after(spare, spare)


@breaks("I9", at_a_message=False)
def test_garbage_not_in_quarantine(tape: Tape, ok: e.Ok) -> None:
    tape.drop(tape.all(e.QuarantineRow)[0])


@breaks("I9")
def test_a_message_in_quarantine(tape: Tape, ok: e.Ok) -> str:
    record = tape.one(e.MessageRecord, id=ok.id)
    row = tape.all(e.QuarantineRow)[0]
    tape.after(row, replace(row, partition=record.partition, offset=record.offset))
    return record.id


@breaks("I9", at_a_message=False)
def test_receipts_in_quarantine(tape: Tape, ok: e.Ok) -> None:
    record = tape.one(e.ReceiptsRecord, id=ok.id)
    row = tape.all(e.QuarantineRow)[0]
    tape.after(row, replace(row, partition=record.partition, offset=record.offset))


@breaks("I9", at_a_message=False)
def test_quarantine_of_nothing(tape: Tape, ok: e.Ok) -> None:
    row = tape.all(e.QuarantineRow)[0]
    tape.after(row, replace(row, offset=10_000))


@breaks("I8", "I9")
def test_a_receipt_lost_in_the_store(tape: Tape, ok: e.Ok) -> None:
    tape.owe(tape.one(e.StatusRow, id=ok.id))
    tape.drop(*tape.all(e.Status, id=ok.id))


@breaks("I9")
def test_stored_what_the_log_does_not_hold(tape: Tape, ok: e.Ok) -> str:
    row = tape.all(e.MessageRow)[0]
    tape.after(row, replace(row, id="id-of-ghost", offset=10_000))
    return "id-of-ghost"


@breaks("I10", at_a_message=False)
def test_applied_goes_back(tape: Tape, ok: e.Ok) -> None:
    sample = tape.all(e.Sample, what="applied")[30]
    tape.change(sample, value=sample.value / 2)


@breaks("I10", at_a_message=False)
def test_applied_is_not_at_the_end(tape: Tape, ok: e.Ok) -> None:
    row = tape.all(e.AppliedRow)[0]
    tape.change(row, next=row.next - 1)


# What is pending -----------------------------------------------------------------------------


def give_phone(tape: Tape, ok: e.Ok) -> None:
    """Let the recipient have had a device when the message was sent, which has acknowledged it; a
    second one begins at the end.
    """
    record = tape.one(e.MessageRecord, id=ok.id)
    to, partition = record.recipients[0], record.partition
    spare = tape.all(e.ForeignRecord, partition=partition, garbage=False)
    at = next(each for each in spare if each.offset < record.offset)
    tape.exchange(at, e.DeviceRecord(at.t, partition, at.offset, to, "phone", "add"))
    last = tape.all(e.Record, partition=partition)[-1]
    end = tape.end_of(partition)
    tape.after(last, e.DeviceRecord(last.t, partition, end, to, "tablet", "add"))
    for sent in tape.all(e.MessageRecord, partition=partition, sender=to):
        if sent.offset > at.offset:
            tape.change(sent, device="phone")
    for receipts in tape.all(e.ReceiptsRecord, partition=partition):
        entries = tuple(
            (user, "phone" if user == to else device, ids) for user, device, ids in receipts.entries
        )
        tape.change(receipts, entries=entries)


def owe(tape: Tape, id: str, user: str, device: str | None, *, is_received: bool = False) -> None:
    """Add a row of `pending`."""
    row = tape.one(e.MessageRow, id=id)
    place = (row.partition, row.offset)
    tape.after(row, e.PendingRow(row.t, user, device, *place, id, is_received))


@allowed
def test_what_a_device_has_acknowledged(tape: Tape, ok: e.Ok) -> None:
    give_phone(tape, ok)


@breaks("I9")
def test_owed_to_a_device_that_has_it(tape: Tape, ok: e.Ok) -> None:
    give_phone(tape, ok)
    owe(tape, ok.id, tape.sent(ok).to, "phone", is_received=True)


@breaks("I9")
def test_owed_to_a_device_that_began_later(tape: Tape, ok: e.Ok) -> None:
    give_phone(tape, ok)
    owe(tape, ok.id, tape.sent(ok).to, "tablet", is_received=True)


@breaks("I9")
def test_owed_to_a_stranger(tape: Tape, ok: e.Ok) -> None:
    owe(tape, ok.id, "u8", None, is_received=True)


def write(tape: Tape, ok: e.Ok) -> e.PendingRow:
    """Append a message that nobody has sent, or received."""
    tape.write("id-of-late", ok.user, tape.sent(ok).to, "late")
    return tape.one(e.PendingRow, id="id-of-late")


@breaks("I3", "I9")
def test_what_nobody_has_received_is_not_pending(tape: Tape, ok: e.Ok) -> str:
    tape.drop(write(tape, ok))
    return "id-of-late"


@breaks("I3", "I9")
def test_pending_as_if_another_mailbox_had_it(tape: Tape, ok: e.Ok) -> str:
    tape.change(write(tape, ok), is_received=True)
    return "id-of-late"


@breaks("I3", "I7", "I9")
def test_pending_at_another_position(tape: Tape, ok: e.Ok) -> str:
    row = write(tape, ok)
    tape.change(row, offset=row.offset + 10_000)
    return "id-of-late"


@breaks("I9", at_a_message=False)
def test_pending_for_no_message(tape: Tape, ok: e.Ok) -> None:
    row = tape.all(e.StatusRow)[0]
    tape.after(row, e.PendingRow(row.t, "u0", None, 0, 10_000, None, is_received=False))


@breaks("I9")
def test_the_view_has_a_recipient_too_many(tape: Tape, ok: e.Ok) -> None:
    row = tape.one(e.StatusRow, id=ok.id)
    tape.after(row, replace(row, recipient="u8", status="UNDELIVERED"))


@breaks("I9")
def test_the_view_says_what_is_not_so(tape: Tape, ok: e.Ok) -> None:
    tape.change(tape.one(e.StatusRow, id=ok.id), status="UNDELIVERED")
    tape.drop(*tape.all(e.Status, id=ok.id))


@breaks("I9", at_a_message=False)
def test_a_record_of_a_device_in_quarantine(tape: Tape, ok: e.Ok) -> None:
    give_phone(tape, ok)
    record = tape.all(e.DeviceRecord)[0]
    row = tape.all(e.QuarantineRow)[0]
    tape.after(row, replace(row, partition=record.partition, offset=record.offset))
