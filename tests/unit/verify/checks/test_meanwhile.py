"""In faults that last, or that the deployment has to stand."""

from urllib.parse import urlsplit

import pytest

from landline_verify.history import events as e
from support.tapes import (
    Tape,
    beside_a_flood,
    breaks,
    owe,
    strand,
    strike,
    violated,
)


def deafen(tape: Tape) -> e.Ok:
    """Let a message arrive late while the store is away, and nothing else is wrong."""
    ok = strand(tape, 8)
    tape.drop(*tape.all(e.FaultEvent, name="redis-flush"))
    strike(tape, "postgres-away", "postgres", ok.t - 0.001, ok.t + 5.001)
    return ok


@breaks("I2c")
def test_deaf_while_the_store_is_away(tape: Tape, ok: e.Ok) -> None:
    deafen(tape)


def test_nobody_is_deaf_where_the_clients_stood_still_just_before() -> None:
    """So may have the servers, which then tell each other nothing."""
    tape = Tape()
    deafen(tape)
    assert "I2c" in violated(tape)
    [sent] = [each.t for each in tape.all(e.FaultEvent, name="postgres-away", phase="start")]
    tape.events.append(e.Sample(sent, "stall", 0.3))
    tape.sort()
    assert "I2c" not in violated(tape)


@pytest.mark.parametrize("is_answered", [False, True])
def test_nobody_is_deaf_to_what_was_sent_behind_a_request_that_waits_for_a_room(
    is_answered: bool,
) -> None:
    """Its session waits with it, and it may have been repeated elsewhere meanwhile."""
    tape = Tape()
    ok = deafen(tape)
    before = tape.events[tape.place(tape.sent(ok)) - 1]
    tape.after(before, e.Invoke(before.t, ok.user, ok.c, "room:1", "r-room", "digest", retry=False))
    if is_answered:
        waiting = tape.one(e.Invoke, ref="r-room")
        tape.after(waiting, e.Rejected(before.t, ok.user, ok.c, "r-room", "busy"))
    assert ("I2c" in violated(tape)) == is_answered


@pytest.mark.parametrize(
    ("is_its_own", "counts", "is_excused"),
    [
        (True, [(-2, 3), (-0.5, 3), (1, 4)], True),
        (True, [(-0.5, 0), (20, 1)], True),  # the server did not say when
        (True, [(-9, 0), (-8, 7), (-0.5, 7), (9, 7), (10, 8)], False),  # at other times
        (True, [(-0.5, 7), (9, 0)], False),  # it was started again
        (True, [], False),
        (False, [(-2, 3), (-0.5, 3), (1, 4)], False),  # another server
    ],
)
def test_nobody_is_deaf_whose_server_had_no_answer_from_redis(
    is_its_own: bool, counts: list[tuple[float, float]], is_excused: bool
) -> None:
    tape = Tape()
    ok = deafen(tape)
    url = tape.one(e.Connect, c=ok.c).url
    if not is_its_own:
        url = next(each.url for each in tape.all(e.Connect) if each.url != url)
    what = f"directory_failures:{urlsplit(url).netloc}"
    struck = [each.t for each in tape.all(e.FaultEvent, name="postgres-away")]
    tape.events += [e.Sample(min(struck) + at, what, count) for at, count in counts]
    tape.sort()
    found = violated(tape)
    assert ("I2c" not in found) == is_excused


@breaks("I11")
def test_accepted_by_a_log_that_keeps_nothing(tape: Tape, ok: e.Ok) -> None:
    sent = tape.sent(ok).t
    strike(tape, "settings-unsafe", "min.insync.replicas=1", sent - 10.001, ok.t + 0.001)


@breaks("I11")
def test_accepted_by_a_log_that_deletes_what_is_not_stored(tape: Tape, ok: e.Ok) -> None:
    sent = tape.sent(ok).t
    strike(tape, "settings-retention", "retention.ms=20000", sent - 30.001, ok.t + 0.001)


@breaks("I15", at_a_message=False)
def test_not_live_where_another_host_stands_in(tape: Tape, ok: e.Ok) -> None:
    session = next(
        each.c
        for each in tape.all(e.Connect)
        if each.t < 35
        and tape.stays(each.c, 55)
        and all(recv.t < 44 for recv in tape.all(e.Recv, c=each.c, replay=True) if recv.t < 55)
    )
    tape.drop(*tape.all(e.Live, c=session))
    strike(tape, "postgres-host-hang", "postgres-host-1", 35.0, 55.0)
    strike(tape, "redis-flush", "redis", 55.0, 55.1)


@breaks("I15", at_a_message=False)
def test_not_ready_where_another_host_stands_in(tape: Tape, ok: e.Ok) -> None:
    tape.events += [e.Sample(36.0 + second, "ready:ws-1", 0.0) for second in range(18)]
    strike(tape, "postgres-host-hang", "postgres-host-1", 35.0, 55.0)


@breaks("I15", at_a_message=False)
def test_no_send_succeeds_after_a_fault_that_is_not_the_last(tape: Tape, ok: e.Ok) -> None:
    for each in tape.all(e.Ok):
        if 30 < each.t < 45:
            tape.exchange(each, e.Unknown(each.t, each.user, each.c, each.ref, "unavailable"))
    strike(tape, "settings-retention", "retention.ms=20000", 26.0, 30.0)
    strike(tape, "postgres-pause", "postgres", 26.0, 46.0)  # sends do not need it
    strike(tape, "redis-flush", "redis", 46.0, 46.1)


@breaks("I2b")
def test_late_in_a_session_that_acknowledges_all_the_time(tape: Tape, ok: e.Ok) -> str:
    """Its window is full because somebody else sends it more than it takes."""
    ok = strand(tape, 20)
    owe(tape, ok, acknowledged=400)
    return ok.id


@breaks("I12b")
def test_answered_late_beside_a_flood(tape: Tape, ok: e.Ok) -> str:
    return beside_a_flood(tape).id
