"""Accepted messages arrive, once a session, and nothing else does."""

from dataclasses import replace

from landline_verify.history import events as e
from support.tapes import (
    Tape,
    breaks,
    strand,
)


@breaks("I2", "I2b")
def test_never_delivered(tape: Tape, ok: e.Ok) -> None:
    tape.forget_receipt(ok.id)
    tape.drop(tape.one(e.Recv, id=ok.id))


@breaks("I2", "I2b", "I8")
def test_delivered_only_in_the_servers_opinion(tape: Tape, ok: e.Ok) -> None:
    tape.drop(tape.one(e.Recv, id=ok.id))


@breaks("I2")
def test_never_delivered_to_a_client_that_came_in_the_end_only(tape: Tape, ok: e.Ok) -> str:
    written = {(each.user, each.ref) for each in tape.all(e.Invoke, to="u8")}
    accepted = next(each for each in tape.all(e.Ok) if (each.user, each.ref) in written)
    tape.forget_receipt(accepted.id)
    tape.drop(*tape.all(e.Recv, id=accepted.id))
    return accepted.id


@breaks("I2")
def test_not_acknowledged_and_never_given_again(tape: Tape, ok: e.Ok) -> None:
    tape.forget_receipt(ok.id)


@breaks("I2")
def test_caught_up_before_all_was_pushed(tape: Tape, ok: e.Ok) -> None:
    """By a session that begins long after any fault, and after the message."""
    recv = tape.one(e.Recv, id=ok.id)
    later = tape.all(e.Connect, user=recv.user)[-1]
    live = tape.one(e.Live, c=later.c)
    assert later.t > ok.t + 5
    tape.after(live, replace(recv, t=live.t, c=later.c, replay=True))


@breaks("I2b")
def test_stranded_for_20_seconds(tape: Tape, ok: e.Ok) -> str:
    return strand(tape, 20).id


@breaks("I2b")
def test_stranded_while_only_redis_is_away(tape: Tape, ok: e.Ok) -> str:
    ok = strand(tape, 20)
    tape.after(ok, e.FaultEvent(ok.t, "redis-flush", "start", ""))
    return ok.id


@breaks("I2b")
def test_stranded_while_another_server_is_dead(tape: Tape, ok: e.Ok) -> str:
    ok = strand(tape, 20)
    recv = tape.one(e.Recv, id=ok.id)
    server = tape.one(e.Connect, c=recv.c).server
    other = "ws-2" if server == "ws-1" else "ws-1"
    tape.after(ok, e.FaultEvent(ok.t, "server-stop", "start", other))
    tape.after(recv, e.FaultEvent(recv.t, "server-stop", "stop", other))
    return ok.id


@breaks("I3")
def test_received_what_nobody_sent(tape: Tape, ok: e.Ok) -> str:
    recv = tape.one(e.Recv, id=ok.id)
    tape.after(recv, replace(recv, id="id-of-phantom", digest="digest-of-phantom", offset=10_000))
    return "id-of-phantom"


@breaks("I3")
def test_received_before_it_was_sent(tape: Tape, ok: e.Ok) -> None:
    invoke = tape.sent(ok)
    recv = tape.one(e.Recv, id=ok.id)
    tape.drop(recv)
    tape.after(tape.events[tape.place(invoke) - 1], recv)


@breaks("I3")
def test_received_from_a_false_sender(tape: Tape, ok: e.Ok) -> None:
    tape.change(tape.one(e.Recv, id=ok.id), sender="u8")


@breaks("I3")
def test_received_as_somebody_elses(tape: Tape, ok: e.Ok) -> None:
    tape.change(tape.one(e.Recv, id=ok.id), to=ok.user)


@breaks("I3")
def test_rejected_but_delivered(tape: Tape, ok: e.Ok) -> None:
    tape.exchange(ok, e.Rejected(ok.t, ok.user, ok.c, ok.ref, "busy"))


@breaks("I3")
def test_rejected_but_in_the_log(tape: Tape, ok: e.Ok) -> str:
    answered = {(ok.user, ok.ref) for ok in tape.all(e.Ok)}
    rejected = next(r for r in tape.all(e.Rejected) if (r.user, r.ref) not in answered)
    invoke = tape.all(e.Invoke, user=rejected.user, ref=rejected.ref)[0]
    assert not tape.all(e.Recv, digest=invoke.digest)
    tape.write("id-of-rejected", invoke.user, invoke.to, invoke.digest)
    return "id-of-rejected"


@breaks("I3")
def test_logged_what_nobody_sent(tape: Tape, ok: e.Ok) -> str:
    tape.write("id-of-phantom", "u0", "u7", "digest-of-phantom")
    return "id-of-phantom"


@breaks("I5")
def test_pushed_twice_in_a_session(tape: Tape, ok: e.Ok) -> str:
    recv = tape.one(e.Recv, id=ok.id)
    tape.after(recv, replace(recv, n=recv.n + 1))
    return recv.id


@breaks("I1", "I2", "I2b", "I5", "I11")
def test_one_send_becomes_two_messages(tape: Tape, ok: e.Ok) -> str:
    invoke = tape.sent(ok)
    tape.after(
        ok, replace(invoke, t=ok.t, retry=True), replace(ok, id="id-of-another", offset=10_000)
    )
    return "id-of-another"


@breaks("I5")
def test_two_sends_become_one_message(tape: Tape, ok: e.Ok) -> None:
    """The second of them is nowhere."""
    invoke = tape.sent(ok)
    tape.after(ok, replace(invoke, t=ok.t, ref="other"), replace(ok, ref="other"))


@breaks("I13")
def test_delivered_to_a_stranger(tape: Tape, ok: e.Ok) -> str:
    recv = tape.one(e.Recv, id=ok.id)
    stranger = next(
        each
        for each in tape.all(e.Connect)
        if each.user not in (recv.user, recv.sender)
        and each.t < recv.t
        and tape.stays(each.c, recv.t)
    )
    tape.after(recv, replace(recv, user=stranger.user, c=stranger.c))
    return recv.id


@breaks("I9", "I13")
def test_the_log_names_other_recipients(tape: Tape, ok: e.Ok) -> None:
    tape.change(tape.one(e.MessageRecord, id=ok.id), recipients=("u8",))
