"""Only an acknowledgement makes a message delivered."""

from dataclasses import replace

from landline_verify.history import events as e
from support.tapes import (
    Tape,
    breaks,
)


@breaks("I2", "I8")
def test_forged_receipt(tape: Tape, ok: e.Ok) -> None:
    tape.drop(*tape.all(e.Ack, id=ok.id))


@breaks("I2", "I8")
def test_status_without_acknowledgement(tape: Tape, ok: e.Ok) -> None:
    statuses = tape.all(e.Status, id=ok.id)
    recv = tape.one(e.Recv, id=ok.id)
    tape.forget_receipt(ok.id)
    tape.after(recv, *statuses)


@breaks("I2", "I8")
def test_acknowledged_in_a_session_that_was_not_given_it(tape: Tape, ok: e.Ok) -> None:
    ack = tape.one(e.Ack, id=ok.id)
    other = tape.all(e.Connect, user=ack.user)[-1]
    assert other.c != ack.c
    tape.change(ack, c=other.c)


@breaks("I8")
def test_status_before_the_acknowledgement(tape: Tape, ok: e.Ok) -> None:
    status, ack = tape.all(e.Status, id=ok.id)[0], tape.one(e.Ack, id=ok.id)
    tape.drop(status)
    tape.after(tape.events[tape.place(ack) - 1], status)


@breaks("I8")
def test_status_told_twice(tape: Tape, ok: e.Ok) -> None:
    status = tape.all(e.Status, id=ok.id)[0]
    tape.after(status, status)


@breaks("I8")
def test_status_told_to_a_stranger(tape: Tape, ok: e.Ok) -> None:
    status = tape.all(e.Status, id=ok.id)[0]
    tape.after(status, replace(status, user="u8", c="c-of-u8"))


@breaks("I8")
def test_delivered_by_a_stranger(tape: Tape, ok: e.Ok) -> None:
    status = tape.all(e.Status, id=ok.id)[0]
    tape.after(status, replace(status, by="u8"))


@breaks("I8", "I9")
def test_delivered_and_back(tape: Tape, ok: e.Ok) -> None:
    tape.owe(tape.one(e.StatusRow, id=ok.id))
