"""The order of a conversation, and that a message keeps its place."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from landline_verify.history import events as e
from support.tapes import (
    Tape,
    breaks,
)


def neighbours(tape: Tape) -> Iterable[tuple[e.MessageRow, e.MessageRow]]:
    """Yield messages that follow each other in a conversation and stand in the log once."""
    records = Counter(each.id for each in tape.all(e.MessageRecord))
    accepted = {each.id for each in tape.all(e.Ok)}
    rows = sorted(tape.all(e.MessageRow), key=lambda each: (each.conversation, each.offset))
    for one, other in pairwise(rows):
        is_pair = one.conversation == other.conversation and {one.id, other.id} <= accepted
        if is_pair and records[one.id] == records[other.id] == 1:
            yield one, other


def sent_one_by_one(tape: Tape) -> Iterator[tuple[e.MessageRow, e.MessageRow]]:
    """Yield those of different senders of which the second was sent after the first's ok."""
    for one, other in neighbours(tape):
        ok, invoke = tape.all(e.Ok, id=one.id)[0], tape.all(e.Invoke, digest=other.digest)[0]
        if one.sender != other.sender and tape.place(ok) < tape.place(invoke):
            yield one, other


@breaks("I6")
def test_two_positions_swapped(tape: Tape, ok: e.Ok) -> str:
    first, second = next(
        (one, other)
        for one, other in sent_one_by_one(tape)
        # A receipt has to stand behind its message.
        if all(each.offset > other.offset for each in tape.all(e.ReceiptsRecord, id=one.id))
    )
    places = {first.id: second.offset, second.id: first.offset}
    for at, event in enumerate(tape.events):
        id = getattr(event, "id", None)
        if id in places and hasattr(event, "offset"):
            tape.events[at] = replace(event, offset=places[id])  # type: ignore[call-arg]  # it has one
    return second.id


def swap_pushes(tape: Tape, one: e.Recv, other: e.Recv) -> str:
    """Let two pushes change places."""
    assert one.offset < other.offset
    tape.change(one, **_pushed(other))
    tape.change(other, **_pushed(one))
    return one.id


def _pushed(recv: e.Recv) -> dict[str, Any]:
    names = ("id", "conversation", "sender", "to", "digest", "offset", "time")
    return {name: getattr(recv, name) for name in names}


def pushed_together(tape: Tape, c: str, *, is_replay: bool) -> Iterable[tuple[e.Recv, e.Recv]]:
    """Yield neighbours of one conversation in a session, of which neither was acknowledged yet."""
    events = [each for each in tape.events if getattr(each, "c", None) == c]
    for one, other in pairwise(events):
        if (
            isinstance(one, e.Recv)
            and isinstance(other, e.Recv)
            and one.replay == other.replay == is_replay
            and one.conversation == other.conversation
            and one.offset < other.offset
        ):
            yield one, other


@breaks("I6")
def test_replayed_out_of_order(tape: Tape, ok: e.Ok) -> str:
    for connect in tape.all(e.Connect, behaviour="silent"):
        for one, other in pushed_together(tape, connect.c, is_replay=True):
            return swap_pushes(tape, one, other)
    raise AssertionError("nothing was replayed")


@breaks("I6")
def test_pushed_live_out_of_order(tape: Tape, ok: e.Ok) -> str:
    """From one session of the sender to one of the recipient, each sent once."""
    tries = defaultdict(list)
    for invoke in tape.all(e.Invoke):
        tries[invoke.digest].append(invoke.c)
    copies = Counter(each.id for each in tape.all(e.Recv))
    for connect in tape.all(e.Connect, behaviour="steady"):
        for one, other in pushed_together(tape, connect.c, is_replay=False):
            is_once = copies[one.id] == copies[other.id] == len(tries[one.digest]) == 1
            if is_once and tries[one.digest] == tries[other.digest]:
                return swap_pushes(tape, one, other)
    raise AssertionError("no two messages overlapped")


@breaks("I7")
def test_another_offset_in_a_later_session(tape: Tape, ok: e.Ok) -> None:
    recv = tape.one(e.Recv, id=ok.id)
    later = tape.all(e.Connect, user=recv.user)[-1]
    tape.after(later, replace(recv, t=later.t, c=later.c, offset=recv.offset + 10_000, replay=True))


@breaks("I6", "I7")
def test_two_messages_at_one_offset(tape: Tape, ok: e.Ok) -> str:
    """Where nothing but the clients tell."""
    one, other = next(sent_one_by_one(tape))
    rows = e.MessageRow | e.StatusRow | e.PendingRow | e.AppliedRow | e.QuarantineRow
    told = e.Record | rows | e.Dump
    tape.events = [
        replace(event, offset=one.offset)
        if isinstance(event, e.Recv | e.Ok) and event.id == other.id
        else event
        for event in tape.events
        if not isinstance(event, told)
    ]
    return other.id


@breaks("I7")
def test_a_retry_is_told_a_later_offset(tape: Tape, ok: e.Ok) -> str:
    first = {row.id: row.offset for row in tape.all(e.MessageRow)}
    for each in tape.all(e.Ok):
        if each.offset > first[each.id]:
            for invoke in tape.all(e.Invoke, user=each.user, ref=each.ref):
                tape.change(invoke, retry=True)
            return each.id
    raise AssertionError("no repeat was appended again")


@breaks("I7", "I11")
def test_a_repeat_is_told_an_offset_before_the_first(tape: Tape, ok: e.Ok) -> None:
    invoke = tape.sent(ok)
    tape.after(ok, replace(invoke, t=ok.t), replace(ok, offset=ok.offset - 1))


@breaks("I7")
def test_ok_names_another_conversation(tape: Tape, ok: e.Ok) -> None:
    tape.change(ok, conversation="dm:u8:u9")


@breaks("I7", "I9")
def test_stored_in_another_partition(tape: Tape, ok: e.Ok) -> None:
    row = tape.one(e.MessageRow, id=ok.id)
    tape.change(row, partition=row.partition + 1)
