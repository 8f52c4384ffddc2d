"""The store is the log, applied."""

from dataclasses import replace

from landline_verify.history import events as e
from support.tapes import (
    Tape,
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


@breaks("I9")
def test_a_receipt_lost_in_the_store(tape: Tape, ok: e.Ok) -> None:
    tape.change(tape.one(e.DeliveryRow, id=ok.id), status="UNDELIVERED")
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
