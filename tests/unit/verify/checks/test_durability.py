"""Accepted messages are in log and store, as they were sent, at the place that was told."""

from dataclasses import replace

from landline_verify.history import events as e
from support.tapes import (
    Tape,
    breaks,
)


@breaks("I1", "I9")
def test_lost_in_the_log(tape: Tape, ok: e.Ok) -> None:
    record = tape.one(e.MessageRecord, id=ok.id)
    tape.exchange(record, e.ForeignRecord(record.t, record.partition, record.offset))


@breaks("I1", "I9")
def test_lost_in_the_store(tape: Tape, ok: e.Ok) -> None:
    tape.drop(tape.one(e.MessageRow, id=ok.id))


@breaks("I1", "I9")
def test_stored_but_owed_to_nobody(tape: Tape, ok: e.Ok) -> None:
    tape.drop(tape.one(e.StatusRow, id=ok.id))


@breaks("I1")
def test_stored_twice(tape: Tape, ok: e.Ok) -> None:
    row = tape.one(e.MessageRow, id=ok.id)
    tape.after(row, row)


@breaks("I1", "I9")
def test_stored_as_another_users(tape: Tape, ok: e.Ok) -> None:
    tape.change(tape.one(e.MessageRow, id=ok.id), sender="u8")


@breaks("I4")
def test_received_with_other_content(tape: Tape, ok: e.Ok) -> None:
    tape.change(tape.one(e.Recv, id=ok.id), digest="other")


@breaks("I4")
def test_other_content_in_log_and_store(tape: Tape, ok: e.Ok) -> None:
    tape.change(tape.one(e.MessageRecord, id=ok.id), digest="other")
    tape.change(tape.one(e.MessageRow, id=ok.id), digest="other")


@breaks("I4", "I9")
def test_other_content_in_the_store(tape: Tape, ok: e.Ok) -> None:
    tape.change(tape.one(e.MessageRow, id=ok.id), digest="other")


@breaks("I1", "I2", "I2b", "I11")
def test_ok_for_nothing(tape: Tape, ok: e.Ok) -> str:
    invoke = tape.sent(ok)
    tape.after(
        ok,
        replace(invoke, t=ok.t, ref="r-nothing", digest="digest-of-nothing"),
        replace(ok, ref="r-nothing", id="id-of-nothing", offset=10_000),
    )
    return "id-of-nothing"


@breaks("I7", "I11")
def test_ok_names_a_place_where_it_is_not(tape: Tape, ok: e.Ok) -> None:
    tape.change(ok, offset=ok.offset + 10_000)
