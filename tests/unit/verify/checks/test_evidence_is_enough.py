"""Where too little happened the checker says so: a run that proves nothing does not pass."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from landline_verify.checker.check import check
from landline_verify.history import events as e
from landline_verify.report.text import found_of
from support.histories import healthy
from support.tapes import (
    Tape,
    base,
    beside_a_flood,
)


@pytest.mark.parametrize("seed", range(12))
def test_a_healthy_history_passes(seed: int) -> None:
    """With faults and without, whatever is lost, repeated, late or dead on the way."""
    verdict = check(healthy(seed, faults=seed % 3 != 0))
    assert (verdict.outcome, verdict.violations, verdict.reasons) == ("pass", (), ())
    not_judged = {name for name, found in verdict.findings.items() if found == "not judged"}
    assert not_judged == {"I2c", "I12b", "I17", "I18"}  # what needs faults of its own, or rooms
    assert verdict.counts["received_again"] > 0
    assert verdict.counts["repeats"] > 0


def is_unknown(events: Iterable[e.Event], reason: str) -> bool:
    """Say whether the verdict is that too little happened, for this reason among others."""
    verdict = check(list(events))
    assert verdict.violations == ()
    assert verdict.findings["I16"] == "violated"
    assert found_of(verdict, "I16") == "NOT MET: too little to tell"  # nothing is wrong
    return verdict.outcome == "unknown" and any(reason in each for each in verdict.reasons)


def test_too_few_messages_prove_nothing() -> None:
    assert is_unknown(healthy(1, sends=300), "messages were accepted, 500 are needed")


def test_no_history_proves_nothing() -> None:
    assert is_unknown([], "stopped before its phase `final`")


def test_a_run_that_was_stopped_proves_nothing() -> None:
    cut = next(at for at, each in enumerate(base()) if each.t > 50)
    assert is_unknown(base()[:cut], "stopped before its phase `final`")


def test_a_client_that_never_came_back_is_owed_nothing_and_proves_nothing() -> None:
    tape = Tape()
    gone = {each.c for each in tape.all(e.Connect, user="u8")}
    tape.forget_receipts_of("u8")
    events = [
        each
        for each in tape.events
        if getattr(each, "c", None) not in gone and getattr(each, "by", None) != "u8"
    ]
    assert is_unknown(events, "u8 did not become live in the final phase")


def test_a_dump_that_is_not_complete_proves_nothing() -> None:
    tape = Tape()
    tape.change(tape.one(e.Dump, what="store"), complete=False)
    tape.drop(*tape.all(e.MessageRow)[:10])
    assert is_unknown(tape.events, "the store could not be read to its end")


def test_clients_that_stood_still_most_of_the_time_prove_nothing() -> None:
    tape = Tape()
    end = tape.events[-1].t
    tape.after(tape.events[-1], e.Sample(end, "stall", 0.5 * end))
    assert is_unknown(tape.events, "the clients themselves stood still")


def test_a_fault_that_was_planned_has_to_happen() -> None:
    tape = Tape()
    run = tape.one(e.Run)
    tape.change(run, options={"faults": [*run.options["faults"], "postgres-kill"]})
    assert is_unknown(tape.events, "postgres-kill was planned")


def test_a_fault_that_was_planned_twice_has_to_happen_twice() -> None:
    tape = Tape()
    run, planned = tape.one(e.Run), tape.one(e.Run).options["faults"]
    tape.change(run, options={"faults": [*planned, planned[0]]})
    assert is_unknown(tape.events, f"{planned[0]} was planned and did not happen, 1 of 2 times")


def test_a_killed_server_has_to_cause_redelivery() -> None:
    events = healthy(3, faults=False)
    seen: set[str] = set()
    first: list[e.Event] = []
    for event in events:
        if isinstance(event, e.Recv) and event.id in seen:
            continue
        if isinstance(event, e.Recv):
            seen.add(event.id)
        first.append(event)
    first.insert(10, e.FaultEvent(events[10].t, "server-kill", "start", "ws-2"))
    verdict = check(first)
    assert "a server was killed, but no message was delivered again" in verdict.reasons


def test_one_ref_for_two_messages_proves_nothing() -> None:
    tape = Tape()
    ok = tape.message()
    invoke = tape.sent(ok)
    tape.after(
        ok, replace(invoke, t=ok.t, digest="other"), e.Unknown(ok.t, ok.user, ok.c, ok.ref, "x")
    )
    assert is_unknown(tape.events, "a ref was used for two messages")


def test_without_dumps_and_samples_the_rest_is_judged() -> None:
    rows = e.MessageRow | e.StatusRow | e.PendingRow | e.MemberRow | e.AppliedRow | e.QuarantineRow
    gone = e.Record | rows | e.Dump | e.Sample
    events = [each for each in base() if not isinstance(each, gone)]
    verdict = check(events)
    assert verdict.outcome == "pass"
    not_judged = {name for name, found in verdict.findings.items() if found == "not judged"}
    assert not_judged == {"I1", "I2c", "I9", "I10", "I11", "I12b", "I14", "I17", "I18"}


def test_answers_that_are_late_because_the_clients_stood_still_prove_nothing() -> None:
    tape = Tape()
    late = beside_a_flood(tape)
    tape.after(late, e.Sample(late.t, "stall", 2.5))
    assert is_unknown(tape.events, "late beside a flood, but the clients stood still")


def test_a_flood_that_sent_nothing_proves_nothing() -> None:
    tape = Tape()
    run = tape.one(e.Run)
    tape.change(run, options={**run.options, "flood": "junk"})
    assert is_unknown(tape.events, "the flood of junk sent nothing")
