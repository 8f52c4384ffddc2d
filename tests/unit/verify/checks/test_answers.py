"""Each send has one answer, in time."""

from dataclasses import replace

from landline_verify.history import events as e
from support.tapes import (
    Tape,
    breaks,
    violated,
)


@breaks("I12")
def test_ok_and_rejected_both(tape: Tape, ok: e.Ok) -> None:
    tape.after(ok, e.Rejected(ok.t, ok.user, ok.c, ok.ref, "busy"))


@breaks("I12")
def test_no_answer_at_all(tape: Tape, ok: e.Ok) -> None:
    tape.drop(ok)


@breaks("I12")
def test_answered_too_late(tape: Tape, ok: e.Ok) -> None:
    tape.change(ok, t=ok.t + 12)
    tape.sort()


def test_nobody_is_late_while_the_clients_stand_still() -> None:
    tape = Tape()
    ok = tape.message()
    late = tape.change(ok, t=ok.t + 12)
    tape.after(late, e.Sample(late.t, "stall", 11.5))
    tape.sort()
    assert "I12" not in violated(tape)


@breaks("I12")
def test_the_client_gives_up_where_nothing_was_wrong(tape: Tape, ok: e.Ok) -> str:
    """Its server never answered, and our client waits no longer than it has to."""
    invoke, run = tape.sent(ok), tape.one(e.Run)
    nobody = replace(invoke, c="alone", ref="unheard", digest="0")
    connect = replace(tape.one(e.Connect, c=invoke.c), c="alone", session="alone")
    tape.after(
        invoke,
        replace(connect, t=invoke.t),
        e.Live(invoke.t, invoke.user, "alone", 0),
        nobody,
        e.Disconnect(invoke.t + run.deadline + 0.2, invoke.user, "alone", None, "client"),
    )
    tape.sort()
    return "unheard"


def test_a_pause_that_begins_shortly_before_the_deadline_counts_whole() -> None:
    tape = Tape()
    ok, run = tape.message(), tape.one(e.Run)
    sent = tape.sent(ok).t
    late = tape.change(ok, t=sent + run.deadline + 4)
    tape.after(late, e.Sample(late.t, "stall", 4.1))
    tape.sort()
    assert "I12" not in violated(tape)


@breaks("I12")
def test_a_retry_of_what_was_accepted_is_rejected(tape: Tape, ok: e.Ok) -> None:
    invoke = tape.sent(ok)
    tape.after(
        ok,
        replace(invoke, t=ok.t, retry=True),
        e.Rejected(ok.t, ok.user, ok.c, ok.ref, "bad_recipient"),
    )


@breaks("I12")
def test_a_retry_is_rejected_for_want_of_room(tape: Tape, ok: e.Ok) -> str:
    rejected = tape.all(e.Rejected)[0]
    invokes = tape.all(e.Invoke, user=rejected.user, ref=rejected.ref)
    for invoke in invokes:
        tape.change(invoke, retry=True)
    return rejected.ref


@breaks("I12")
def test_an_answer_to_nothing(tape: Tape, ok: e.Ok) -> str:
    tape.after(ok, e.Unknown(ok.t, ok.user, ok.c, "r-nothing", "unavailable"))
    return "r-nothing"
