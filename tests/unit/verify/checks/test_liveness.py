"""Memory and files are bounded, and all works again in the end."""

from dataclasses import replace

from landline_verify.history import events as e
from support.tapes import (
    Tape,
    breaks,
)


@breaks("I14", at_a_message=False)
def test_memory_fans_out(tape: Tape, ok: e.Ok) -> None:
    for number, sample in enumerate(tape.all(e.Sample, what="rss:ws-1")):
        tape.change(sample, value=sample.value + number * 2e6)


@breaks("I14", at_a_message=False)
def test_files_are_left_open(tape: Tape, ok: e.Ok) -> None:
    tape.after(tape.events[1], e.Sample(0.0, "fds:ws-1", 40.0))
    tape.events.append(e.Sample(tape.events[-1].t, "fds:ws-1", 140.0))


@breaks("I15", at_a_message=False)
def test_never_live_again(tape: Tape, ok: e.Ok) -> None:
    for live in tape.all(e.Live, user="u0"):
        if live.t > 60:
            tape.drop(live)


@breaks("I15", at_a_message=False)
def test_cut_again_and_again_in_the_end(tape: Tape, ok: e.Ok) -> None:
    """No session lasts long enough to be stuck, and yet this user never gets in."""
    for live in tape.all(e.Live, user="u8"):
        tape.drop(live)
    for connect in tape.all(e.Connect, user="u8"):
        tape.drop(*tape.all(e.Disconnect, c=connect.c))
        tape.after(connect, e.Disconnect(connect.t, "u8", connect.c, 1011, "server"))
    for event in [event for event in tape.events if getattr(event, "user", None) == "u8"]:
        if isinstance(event, e.Recv | e.Ack):
            tape.drop(event)
    tape.forget_receipts_of("u8")
    tape.drop(*tape.all(e.Status, by="u8"))


@breaks("I15")
def test_no_send_succeeds_again(tape: Tape, ok: e.Ok) -> str:
    for each in tape.all(e.Ok):
        if each.t > 60:
            tape.exchange(each, e.Unknown(each.t, each.user, each.c, each.ref, "unavailable"))
    for attempt in tape.all(e.Invoke):
        if attempt.t > 60:
            return attempt.ref
    live = next(live for live in tape.all(e.Live) if live.t > 60)
    tape.after(
        live,
        e.Invoke(live.t, live.user, live.c, "u7", "r-late", "digest-of-late", retry=False),
        e.Unknown(live.t, live.user, live.c, "r-late", "unavailable"),
    )
    return "r-late"


@breaks("I15")
def test_one_conversation_never_works_again(tape: Tape, ok: e.Ok) -> str:
    """Another does; of this one every try is answered with that nobody knows."""
    session = tape.all(e.Connect, user=ok.user)[-1]
    began = tape.one(e.Live, c=session.c).t
    end = tape.place(tape.one(e.Phase, name="end"))
    tape.events[end:] = [replace(each, t=each.t + 30) for each in tape.events[end:]]
    again = replace(tape.sent(ok), t=began, c=session.c, retry=True)
    tape.events += [again, replace(ok, t=began, c=session.c)]
    for second in range(25):
        at = began + second
        tape.events += [
            replace(again, t=at, ref="stuck", digest="0", retry=second > 0),
            e.Unknown(at + 0.5, ok.user, session.c, "stuck", "unavailable"),
        ]
    tape.sort()
    return "stuck"


@breaks("I15", at_a_message=False)
def test_the_writer_stays_behind(tape: Tape, ok: e.Ok) -> None:
    tape.change(tape.all(e.Sample, what="lag")[-1], value=5.0)
