"""What the contract allows is not flagged."""

from dataclasses import replace

from landline_verify.history import events as e
from support.tapes import (
    Tape,
    allowed,
    beside_a_flood,
    owe,
    strand,
    strike,
)


@allowed
def test_received_again_in_a_later_session(tape: Tape, ok: e.Ok) -> None:
    recv = tape.one(e.Recv, id=ok.id)
    later = tape.all(e.Connect, user=recv.user)[-1]
    tape.after(later, replace(recv, t=later.t, c=later.c, n=1, replay=True))


@allowed
def test_a_repeat_without_retry_is_told_a_later_offset_and_one_is_refused(
    tape: Tape, ok: e.Ok
) -> None:
    invoke = tape.sent(ok)
    record = tape.one(e.MessageRecord, id=ok.id)
    later = tape.end_of(record.partition)
    tape.after(record, replace(record, offset=later))
    tape.after(
        ok,
        replace(invoke, t=ok.t),
        replace(ok, offset=later),
        replace(invoke, t=ok.t),
        e.Rejected(ok.t, ok.user, ok.c, ok.ref, "busy"),
    )


@allowed
def test_an_unknown_send_that_never_existed(tape: Tape, ok: e.Ok) -> None:
    tape.after(
        ok,
        e.Invoke(ok.t, ok.user, ok.c, "u0", "r-unknown", "digest-of-unknown", retry=False),
        e.Unknown(ok.t, ok.user, ok.c, "r-unknown", "unavailable"),
    )


@allowed
def test_an_unknown_send_that_exists(tape: Tape, ok: e.Ok) -> None:
    tape.exchange(ok, e.Unknown(ok.t, ok.user, ok.c, ok.ref, "unavailable"))


@allowed
def test_a_message_lost_with_a_plain_connection(tape: Tape, ok: e.Ok) -> None:
    """With `ack=auto` what was written to a dying connection counts as delivered."""
    first = {row.id: row.recipient for row in tape.all(e.StatusRow)}
    acks = {id for ack in tape.all(e.Ack) for id in ack.ids}
    recv = next(
        each
        for each in tape.all(e.Recv, user="u6")
        if first[each.id] == "u6"
        if each.id not in acks
    )
    tape.drop(recv)


@allowed
def test_delivered_to_a_plain_session_before_its_welcome_was_read(tape: Tape, ok: e.Ok) -> None:
    status = tape.all(e.Status, by="u6")[0]
    connect = tape.all(e.Connect, user="u6")[0]
    assert connect.ack == "auto"
    tape.drop(connect)
    tape.after(status, replace(connect, t=status.t))


@allowed
def test_stranded_while_the_log_is_away(tape: Tape, ok: e.Ok) -> None:
    ok = strand(tape, 20)
    tape.after(ok, e.FaultEvent(ok.t, "kafka-stop", "start", ""))


@allowed
def test_stranded_while_the_recipients_server_is_stopped(tape: Tape, ok: e.Ok) -> None:
    ok = strand(tape, 20)
    recv = tape.one(e.Recv, id=ok.id)
    server = tape.one(e.Connect, c=recv.c).server
    tape.after(ok, e.FaultEvent(ok.t, "server-stop", "start", server))
    tape.after(recv, e.FaultEvent(recv.t, "server-stop", "stop", server))


@allowed
def test_stranded_behind_a_window_that_is_nearly_full(tape: Tape, ok: e.Ok) -> None:
    owe(tape, strand(tape, 20), acknowledged=0)


@allowed
def test_stranded_behind_a_window_that_empties_slowly(tape: Tape, ok: e.Ok) -> None:
    owe(tape, strand(tape, 20), acknowledged=200)


@allowed
def test_slow_while_the_store_is_away_in_the_first_5_seconds_of_a_session(
    tape: Tape, ok: e.Ok
) -> None:
    """A session that has just begun may still be catching up."""
    ok = strand(tape, 8)
    tape.drop(*tape.all(e.FaultEvent, name="redis-flush"))
    session = tape.one(e.Connect, c=tape.one(e.Recv, id=ok.id).c)
    tape.change(session, t=ok.t - 4)
    strike(tape, "postgres-away", "postgres", ok.t - 5, ok.t + 5.001)


@allowed
def test_accepted_before_a_server_can_have_noticed(tape: Tape, ok: e.Ok) -> None:
    sent = tape.sent(ok).t
    strike(tape, "settings-unsafe", "min.insync.replicas=1", sent - 9, ok.t + 0.001)


@allowed
def test_slow_beside_a_flood_at_another_server(tape: Tape, ok: e.Ok) -> None:
    ok = beside_a_flood(tape)
    url = tape.one(e.Connect, c=ok.c).url
    for struck in tape.all(e.FaultEvent, detail=url):
        tape.change(
            struck, detail=next(each.url for each in tape.all(e.Connect) if each.url != url)
        )
