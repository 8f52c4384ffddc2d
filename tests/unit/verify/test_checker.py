"""The checker bites: a healthy history passes, and one broken in one way is found out to be broken
in that way, at that message.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from landline_verify.checker.check import check
from landline_verify.history import events as e
from landline_verify.report.text import found_of
from support.histories import healthy

E = TypeVar("E", bound=e.Event)

SEED = 4
STEADY = ("u0", "u7")


@cache
def base() -> tuple[e.Event, ...]:
    """Return the history that is broken here, in one way at a time."""
    return tuple(healthy(SEED))


class Tape:
    """A healthy history, to be broken."""

    def __init__(self) -> None:
        self.events: list[e.Event] = list(base())

    def all(self, kind: type[E], **values: object) -> list[E]:
        """Return the events of a kind with these values, an id among `ids` included."""
        return [
            event
            for event in self.events
            if isinstance(event, kind)
            and all(
                value in getattr(event, "ids", ())
                if name == "id" and not hasattr(event, "id")
                else getattr(event, name) == value
                for name, value in values.items()
            )
        ]

    def one(self, kind: type[E], **values: object) -> E:
        """Return the only event of a kind with these values."""
        (event,) = self.all(kind, **values)
        return event

    def place(self, event: e.Event) -> int:
        return next(at for at, each in enumerate(self.events) if each is event)

    def drop(self, *events: e.Event) -> None:
        for event in events:
            del self.events[self.place(event)]

    def change(self, event: E, **values: Any) -> E:
        changed = replace(event, **values)
        self.events[self.place(event)] = changed
        return changed

    def after(self, event: e.Event, *more: e.Event) -> None:
        """Put events behind another one."""
        at = self.place(event) + 1
        self.events[at:at] = more

    def exchange(self, one: e.Event, other: e.Event) -> None:
        """Put an event in the place of another, which goes."""
        self.events[self.place(one)] = other

    def sort(self) -> None:
        self.events.sort(key=lambda each: each.t)

    # Messages with whom something can be done ------------------------------------------------

    def plain_messages(self) -> Iterable[e.Ok]:
        """Yield the ok of messages that were sent once, between two who were there for 22 s, and
        received once, live, while nothing was struck.
        """
        for ok in self.all(e.Ok):
            if not 34 < ok.t < 37.5:
                continue
            invokes = self.all(e.Invoke, user=ok.user, ref=ok.ref)
            to, sender = invokes[0].to, ok.user
            recvs = self.all(e.Recv, id=ok.id)
            if (
                len(invokes) == len(recvs) == len(self.all(e.MessageRecord, id=ok.id)) == 1
                and to in STEADY
                and sender != to
                and not recvs[0].replay
                and len(self.all(e.Ack, id=ok.id)) == 1
                and self.all(e.Status, id=ok.id)
                and self.stays(recvs[0].c, ok.t + 22)
                and self.stays(ok.c, ok.t + 12)
            ):
                yield ok

    def stays(self, c: str, until: float) -> bool:
        return all(each.t > until for each in self.all(e.Disconnect, c=c))

    def message(self) -> e.Ok:
        """Return the ok of a plain message."""
        return plain()

    def forget_receipt(self, id: str) -> None:
        """Make it as if the recipient had never acknowledged."""
        receipts = self.one(e.ReceiptsRecord, id=id)
        self.exchange(receipts, e.ForeignRecord(receipts.t, receipts.partition, receipts.offset))
        self.change(self.one(e.DeliveryRow, id=id), status="UNDELIVERED")
        self.drop(*self.all(e.Ack, id=id), *self.all(e.Status, id=id))

    def spare_record(self) -> e.ForeignRecord:
        """Return a place in the log that is nobody's."""
        return self.all(e.ForeignRecord, garbage=False)[0]

    def end_of(self, partition: int) -> int:
        """Move the end of a partition by one; return the offset that becomes free."""
        row = self.one(e.AppliedRow, partition=partition)
        self.change(row, next=row.next + 1)
        return row.next

    def write(self, id: str, sender: str, to: str, digest: str) -> None:
        """Append a message to the log, and to the store."""
        conversation = f"dm:{min(sender, to)}:{max(sender, to)}"
        last = self.all(e.MessageRecord, conversation=conversation)[-1]
        place = (last.partition, self.end_of(last.partition))
        self.after(last, e.MessageRecord(last.t, *place, id, sender, (to,), conversation, digest))
        self.after(
            self.all(e.MessageRow)[-1],
            e.MessageRow(last.t, id, sender, conversation, digest, *place),
            e.DeliveryRow(last.t, id, to, "UNDELIVERED", *place),
        )


@cache
def plain() -> e.Ok:
    """Return the ok of one plain message."""
    return next(iter(Tape().plain_messages()))


Doctoring = Callable[[Tape], str | None]
DOCTORINGS: list[tuple[Doctoring, set[str]]] = []


def breaks(*invariants: str) -> Callable[[Doctoring], Doctoring]:
    """Register a way to break a history: it returns the id or ref of the message that is hurt."""

    def register(doctoring: Doctoring) -> Doctoring:
        DOCTORINGS.append((doctoring, set(invariants)))
        return doctoring

    return register


# I1, I4, I11 --------------------------------------------------------------------------------------


@breaks("I1", "I9")
def lost_in_the_log(tape: Tape) -> str:
    ok = tape.message()
    record = tape.one(e.MessageRecord, id=ok.id)
    tape.exchange(record, e.ForeignRecord(record.t, record.partition, record.offset))
    return ok.id


@breaks("I1", "I9")
def lost_in_the_store(tape: Tape) -> str:
    ok = tape.message()
    tape.drop(tape.one(e.MessageRow, id=ok.id))
    return ok.id


@breaks("I1", "I9")
def stored_but_owed_to_nobody(tape: Tape) -> str:
    ok = tape.message()
    tape.drop(tape.one(e.DeliveryRow, id=ok.id))
    return ok.id


@breaks("I1")
def stored_twice(tape: Tape) -> str:
    ok = tape.message()
    row = tape.one(e.MessageRow, id=ok.id)
    tape.after(row, row)
    return ok.id


@breaks("I1", "I9")
def stored_as_another_users(tape: Tape) -> str:
    ok = tape.message()
    tape.change(tape.one(e.MessageRow, id=ok.id), sender="u8")
    return ok.id


@breaks("I4")
def received_with_other_content(tape: Tape) -> str:
    ok = tape.message()
    tape.change(tape.one(e.Recv, id=ok.id), digest="other")
    return ok.id


@breaks("I4")
def other_content_in_log_and_store(tape: Tape) -> str:
    ok = tape.message()
    tape.change(tape.one(e.MessageRecord, id=ok.id), digest="other")
    tape.change(tape.one(e.MessageRow, id=ok.id), digest="other")
    return ok.id


@breaks("I4", "I9")
def other_content_in_the_store(tape: Tape) -> str:
    ok = tape.message()
    tape.change(tape.one(e.MessageRow, id=ok.id), digest="other")
    return ok.id


@breaks("I1", "I2", "I2b", "I11")
def ok_for_nothing(tape: Tape) -> str:
    ok = tape.message()
    invoke = tape.one(e.Invoke, user=ok.user, ref=ok.ref)
    tape.after(
        ok,
        replace(invoke, t=ok.t, ref="r-nothing", digest="digest-of-nothing"),
        replace(ok, ref="r-nothing", id="id-of-nothing", offset=10_000),
    )
    return "id-of-nothing"


@breaks("I7", "I11")
def ok_names_a_place_where_it_is_not(tape: Tape) -> str:
    ok = tape.message()
    tape.change(ok, offset=ok.offset + 10_000)
    return ok.id


# I2, I2b, I3, I5, I13 -----------------------------------------------------------------------------


@breaks("I2", "I2b")
def never_delivered(tape: Tape) -> str:
    ok = tape.message()
    tape.forget_receipt(ok.id)
    tape.drop(tape.one(e.Recv, id=ok.id))
    return ok.id


@breaks("I2", "I2b", "I8")
def delivered_only_in_the_servers_opinion(tape: Tape) -> str:
    ok = tape.message()
    tape.drop(tape.one(e.Recv, id=ok.id))
    return ok.id


@breaks("I2")
def never_delivered_to_one_who_came_in_the_end_only(tape: Tape) -> str:
    for ok in tape.all(e.Ok):
        (*_, invoke) = tape.all(e.Invoke, user=ok.user, ref=ok.ref)
        if invoke.to == "u8":
            break
    else:
        raise AssertionError("nobody wrote to the absent one")
    tape.forget_receipt(ok.id)
    tape.drop(*tape.all(e.Recv, id=ok.id))
    return ok.id


@breaks("I2")
def not_acknowledged_and_never_given_again(tape: Tape) -> str:
    ok = tape.message()
    tape.forget_receipt(ok.id)
    return ok.id


@breaks("I2")
def caught_up_before_all_was_pushed(tape: Tape) -> str:
    """By a session that begins long after any fault, and after the message."""
    ok = tape.message()
    recv = tape.one(e.Recv, id=ok.id)
    later = tape.all(e.Connect, user=recv.user)[-1]
    live = tape.one(e.Live, c=later.c)
    assert later.t > ok.t + 5
    tape.after(live, replace(recv, t=live.t, c=later.c, replay=True))
    return ok.id


def strand(tape: Tape, seconds: float) -> e.Ok:
    """Let a message arrive late, as by the sweep."""
    ok = tape.message()
    late: list[e.Event] = [*tape.all(e.Recv, id=ok.id)]
    late += [*tape.all(e.Ack, id=ok.id), *tape.all(e.Status, id=ok.id)]
    for event in late:
        changes = {"replay": True} if isinstance(event, e.Recv) else {}
        tape.change(event, t=event.t + seconds, **changes)
    for status in tape.all(e.Status, id=ok.id):
        if not tape.stays(status.c, status.t):
            tape.drop(status)
    tape.sort()
    return ok


@breaks("I2b")
def stranded_for_20_seconds(tape: Tape) -> str:
    return strand(tape, 20).id


@breaks("I2b")
def stranded_while_only_redis_is_away(tape: Tape) -> str:
    ok = strand(tape, 20)
    tape.after(ok, e.FaultEvent(ok.t, "redis-flush", "start", ""))
    return ok.id


@breaks("I2b")
def stranded_while_another_server_is_dead(tape: Tape) -> str:
    ok = strand(tape, 20)
    recv = tape.one(e.Recv, id=ok.id)
    server = tape.one(e.Connect, c=recv.c).server
    other = "ws-2" if server == "ws-1" else "ws-1"
    tape.after(ok, e.FaultEvent(ok.t, "server-stop", "start", other))
    tape.after(recv, e.FaultEvent(recv.t, "server-stop", "stop", other))
    return ok.id


@breaks("I3")
def received_what_nobody_sent(tape: Tape) -> str:
    recv = tape.one(e.Recv, id=tape.message().id)
    tape.after(recv, replace(recv, id="id-of-phantom", digest="digest-of-phantom", offset=10_000))
    return "id-of-phantom"


@breaks("I3")
def received_before_it_was_sent(tape: Tape) -> str:
    ok = tape.message()
    invoke = tape.one(e.Invoke, user=ok.user, ref=ok.ref)
    recv = tape.one(e.Recv, id=ok.id)
    tape.drop(recv)
    tape.after(tape.events[tape.place(invoke) - 1], recv)
    return ok.id


@breaks("I3")
def received_from_a_false_sender(tape: Tape) -> str:
    ok = tape.message()
    tape.change(tape.one(e.Recv, id=ok.id), sender="u8")
    return ok.id


@breaks("I3")
def received_as_somebody_elses(tape: Tape) -> str:
    ok = tape.message()
    tape.change(tape.one(e.Recv, id=ok.id), to=ok.user)
    return ok.id


@breaks("I3")
def rejected_but_delivered(tape: Tape) -> str:
    ok = tape.message()
    tape.exchange(ok, e.Rejected(ok.t, ok.user, ok.c, ok.ref, "busy"))
    return ok.id


@breaks("I3")
def rejected_but_in_the_log(tape: Tape) -> str:
    answered = {(ok.user, ok.ref) for ok in tape.all(e.Ok)}
    rejected = next(r for r in tape.all(e.Rejected) if (r.user, r.ref) not in answered)
    invoke = tape.all(e.Invoke, user=rejected.user, ref=rejected.ref)[0]
    assert not tape.all(e.Recv, digest=invoke.digest)
    tape.write("id-of-rejected", invoke.user, invoke.to, invoke.digest)
    return "id-of-rejected"


@breaks("I3")
def logged_what_nobody_sent(tape: Tape) -> str:
    tape.write("id-of-phantom", "u0", "u7", "digest-of-phantom")
    return "id-of-phantom"


@breaks("I5")
def pushed_twice_in_a_session(tape: Tape) -> str:
    recv = tape.one(e.Recv, id=tape.message().id)
    tape.after(recv, replace(recv, n=recv.n + 1))
    return recv.id


@breaks("I1", "I2", "I2b", "I5", "I11")
def one_send_becomes_two_messages(tape: Tape) -> str:
    ok = tape.message()
    invoke = tape.one(e.Invoke, user=ok.user, ref=ok.ref)
    tape.after(
        ok, replace(invoke, t=ok.t, retry=True), replace(ok, id="id-of-another", offset=10_000)
    )
    return "id-of-another"


@breaks("I5")
def two_sends_become_one_message(tape: Tape) -> str:
    """The second of them is nowhere."""
    ok = tape.message()
    invoke = tape.one(e.Invoke, user=ok.user, ref=ok.ref)
    tape.after(ok, replace(invoke, t=ok.t, ref="other"), replace(ok, ref="other"))
    return ok.id


@breaks("I13")
def delivered_to_a_stranger(tape: Tape) -> str:
    recv = tape.one(e.Recv, id=tape.message().id)
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
def the_log_names_other_recipients(tape: Tape) -> str:
    ok = tape.message()
    tape.change(tape.one(e.MessageRecord, id=ok.id), recipients=("u8",))
    return ok.id


# I6, I7 -------------------------------------------------------------------------------------------


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
def two_positions_swapped(tape: Tape) -> str:
    first, second = next(sent_one_by_one(tape))
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
def replayed_out_of_order(tape: Tape) -> str:
    for connect in tape.all(e.Connect, behaviour="silent"):
        for one, other in pushed_together(tape, connect.c, is_replay=True):
            return swap_pushes(tape, one, other)
    raise AssertionError("nothing was replayed")


@breaks("I6")
def pushed_live_out_of_order(tape: Tape) -> str:
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
def another_offset_in_a_later_session(tape: Tape) -> str:
    ok = tape.message()
    recv = tape.one(e.Recv, id=ok.id)
    later = tape.all(e.Connect, user=recv.user)[-1]
    tape.after(later, replace(recv, t=later.t, c=later.c, offset=recv.offset + 10_000, replay=True))
    return ok.id


@breaks("I6", "I7")
def two_messages_at_one_offset(tape: Tape) -> str:
    """Where nothing but the clients tell."""
    one, other = next(sent_one_by_one(tape))
    told = e.Record | e.MessageRow | e.DeliveryRow | e.AppliedRow | e.QuarantineRow | e.Dump
    tape.events = [
        replace(event, offset=one.offset)
        if isinstance(event, e.Recv | e.Ok) and event.id == other.id
        else event
        for event in tape.events
        if not isinstance(event, told)
    ]
    return other.id


@breaks("I7")
def a_retry_is_told_a_later_offset(tape: Tape) -> str:
    first = {row.id: row.offset for row in tape.all(e.MessageRow)}
    for ok in tape.all(e.Ok):
        if ok.offset > first[ok.id]:
            for invoke in tape.all(e.Invoke, user=ok.user, ref=ok.ref):
                tape.change(invoke, retry=True)
            return ok.id
    raise AssertionError("no repeat was appended again")


@breaks("I7", "I11")
def a_repeat_is_told_an_offset_before_the_first(tape: Tape) -> str:
    ok = tape.message()
    invoke = tape.one(e.Invoke, user=ok.user, ref=ok.ref)
    tape.after(ok, replace(invoke, t=ok.t), replace(ok, offset=ok.offset - 1))
    return ok.id


@breaks("I7")
def ok_names_another_conversation(tape: Tape) -> str:
    ok = tape.message()
    tape.change(ok, conversation="dm:u8:u9")
    return ok.id


@breaks("I7", "I9")
def stored_in_another_partition(tape: Tape) -> str:
    ok = tape.message()
    row = tape.one(e.MessageRow, id=ok.id)
    tape.change(row, partition=row.partition + 1)
    return ok.id


# I8 -----------------------------------------------------------------------------------------------


@breaks("I2", "I8")
def forged_receipt(tape: Tape) -> str:
    ok = tape.message()
    tape.drop(*tape.all(e.Ack, id=ok.id))
    return ok.id


@breaks("I2", "I8")
def status_without_acknowledgement(tape: Tape) -> str:
    ok = tape.message()
    statuses = tape.all(e.Status, id=ok.id)
    recv = tape.one(e.Recv, id=ok.id)
    tape.forget_receipt(ok.id)
    tape.after(recv, *statuses)
    return ok.id


@breaks("I2", "I8")
def acknowledged_in_a_session_that_was_not_given_it(tape: Tape) -> str:
    ok = tape.message()
    ack = tape.one(e.Ack, id=ok.id)
    other = tape.all(e.Connect, user=ack.user)[-1]
    assert other.c != ack.c
    tape.change(ack, c=other.c)
    return ok.id


@breaks("I8")
def status_before_the_acknowledgement(tape: Tape) -> str:
    ok = tape.message()
    status, ack = tape.all(e.Status, id=ok.id)[0], tape.one(e.Ack, id=ok.id)
    tape.drop(status)
    tape.after(tape.events[tape.place(ack) - 1], status)
    return ok.id


@breaks("I8")
def status_told_twice(tape: Tape) -> str:
    ok = tape.message()
    status = tape.all(e.Status, id=ok.id)[0]
    tape.after(status, status)
    return ok.id


@breaks("I8")
def status_told_to_a_stranger(tape: Tape) -> str:
    ok = tape.message()
    status = tape.all(e.Status, id=ok.id)[0]
    tape.after(status, replace(status, user="u8", c="c-of-u8"))
    return ok.id


@breaks("I8")
def delivered_by_a_stranger(tape: Tape) -> str:
    ok = tape.message()
    status = tape.all(e.Status, id=ok.id)[0]
    tape.after(status, replace(status, by="u8"))
    return ok.id


@breaks("I8", "I9")
def delivered_and_back(tape: Tape) -> str:
    ok = tape.message()
    tape.change(tape.one(e.DeliveryRow, id=ok.id), status="UNDELIVERED")
    return ok.id


# I9, I10 ------------------------------------------------------------------------------------------


@breaks("I9")
def an_offset_unaccounted_for(tape: Tape) -> None:
    tape.drop(tape.spare_record())


@breaks("I9")
def an_offset_twice(tape: Tape) -> None:
    spare = tape.spare_record()
    tape.after(spare, spare)


@breaks("I9")
def garbage_not_in_quarantine(tape: Tape) -> None:
    tape.drop(tape.all(e.QuarantineRow)[0])


@breaks("I9")
def a_message_in_quarantine(tape: Tape) -> str:
    record = tape.one(e.MessageRecord, id=tape.message().id)
    row = tape.all(e.QuarantineRow)[0]
    tape.after(row, replace(row, partition=record.partition, offset=record.offset))
    return record.id


@breaks("I9")
def receipts_in_quarantine(tape: Tape) -> None:
    record = tape.one(e.ReceiptsRecord, id=tape.message().id)
    row = tape.all(e.QuarantineRow)[0]
    tape.after(row, replace(row, partition=record.partition, offset=record.offset))


@breaks("I9")
def quarantine_of_nothing(tape: Tape) -> None:
    row = tape.all(e.QuarantineRow)[0]
    tape.after(row, replace(row, offset=10_000))


@breaks("I9")
def a_receipt_lost_in_the_store(tape: Tape) -> str:
    ok = tape.message()
    tape.change(tape.one(e.DeliveryRow, id=ok.id), status="UNDELIVERED")
    tape.drop(*tape.all(e.Status, id=ok.id))
    return ok.id


@breaks("I9")
def stored_what_the_log_does_not_hold(tape: Tape) -> str:
    row = tape.all(e.MessageRow)[0]
    tape.after(row, replace(row, id="id-of-ghost", offset=10_000))
    return "id-of-ghost"


@breaks("I10")
def applied_goes_back(tape: Tape) -> None:
    sample = tape.all(e.Sample, what="applied")[30]
    tape.change(sample, value=sample.value / 2)


@breaks("I10")
def applied_is_not_at_the_end(tape: Tape) -> None:
    row = tape.all(e.AppliedRow)[0]
    tape.change(row, next=row.next - 1)


# I12 ----------------------------------------------------------------------------------------------


@breaks("I12")
def ok_and_rejected_both(tape: Tape) -> str:
    ok = tape.message()
    tape.after(ok, e.Rejected(ok.t, ok.user, ok.c, ok.ref, "busy"))
    return ok.id


@breaks("I12")
def no_answer_at_all(tape: Tape) -> str:
    ok = tape.message()
    tape.drop(ok)
    return ok.id


@breaks("I12")
def answered_too_late(tape: Tape) -> str:
    ok = tape.message()
    tape.change(ok, t=ok.t + 12)
    tape.sort()
    return ok.id


def test_nobody_is_late_while_the_clients_stand_still() -> None:
    tape = Tape()
    ok = tape.message()
    late = tape.change(ok, t=ok.t + 12)
    tape.after(late, e.Sample(late.t, "stall", 11.5))
    tape.sort()
    assert "I12" not in {each.invariant for each in check(tape.events).violations}


@breaks("I12")
def the_client_gives_up_where_nothing_was_wrong(tape: Tape) -> str:
    """Its server never answered, and our client waits no longer than it has to."""
    ok = tape.message()
    invoke, run = tape.one(e.Invoke, user=ok.user, ref=ok.ref), tape.one(e.Run)
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
    sent = tape.one(e.Invoke, user=ok.user, ref=ok.ref).t
    late = tape.change(ok, t=sent + run.deadline + 4)
    tape.after(late, e.Sample(late.t, "stall", 4.1))
    tape.sort()
    assert "I12" not in {each.invariant for each in check(tape.events).violations}


@breaks("I12")
def a_retry_of_what_was_accepted_is_rejected(tape: Tape) -> str:
    ok = tape.message()
    invoke = tape.one(e.Invoke, user=ok.user, ref=ok.ref)
    tape.after(
        ok,
        replace(invoke, t=ok.t, retry=True),
        e.Rejected(ok.t, ok.user, ok.c, ok.ref, "bad_recipient"),
    )
    return ok.id


@breaks("I12")
def a_retry_is_rejected_for_want_of_room(tape: Tape) -> str:
    rejected = tape.all(e.Rejected)[0]
    invokes = tape.all(e.Invoke, user=rejected.user, ref=rejected.ref)
    for invoke in invokes:
        tape.change(invoke, retry=True)
    return rejected.ref


@breaks("I12")
def an_answer_to_nothing(tape: Tape) -> str:
    ok = tape.message()
    tape.after(ok, e.Unknown(ok.t, ok.user, ok.c, "r-nothing", "unavailable"))
    return "r-nothing"


# I14, I15 -----------------------------------------------------------------------------------------


@breaks("I14")
def memory_fans_out(tape: Tape) -> None:
    for number, sample in enumerate(tape.all(e.Sample, what="rss:ws-1")):
        tape.change(sample, value=sample.value + number * 2e6)


@breaks("I14")
def files_are_left_open(tape: Tape) -> None:
    tape.after(tape.events[1], e.Sample(0.0, "fds:ws-1", 40.0))
    tape.events.append(e.Sample(tape.events[-1].t, "fds:ws-1", 140.0))


@breaks("I15")
def never_live_again(tape: Tape) -> None:
    for live in tape.all(e.Live, user="u0"):
        if live.t > 60:
            tape.drop(live)


@breaks("I15")
def cut_again_and_again_in_the_end(tape: Tape) -> None:
    """No session lasts long enough to be stuck, and yet he never gets in."""
    for live in tape.all(e.Live, user="u8"):
        tape.drop(live)
    for connect in tape.all(e.Connect, user="u8"):
        tape.drop(*tape.all(e.Disconnect, c=connect.c))
        tape.after(connect, e.Disconnect(connect.t, "u8", connect.c, 1011, "server"))
    for event in [event for event in tape.events if getattr(event, "user", None) == "u8"]:
        if isinstance(event, e.Recv | e.Ack):
            tape.drop(event)
    for receipts in tape.all(e.ReceiptsRecord, recipient="u8"):
        tape.exchange(receipts, e.ForeignRecord(receipts.t, receipts.partition, receipts.offset))
    for row in tape.all(e.DeliveryRow, recipient="u8"):
        tape.change(row, status="UNDELIVERED")
    tape.drop(*tape.all(e.Status, by="u8"))


@breaks("I15")
def no_send_succeeds_again(tape: Tape) -> str:
    for ok in tape.all(e.Ok):
        if ok.t > 60:
            tape.exchange(ok, e.Unknown(ok.t, ok.user, ok.c, ok.ref, "unavailable"))
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
def one_conversation_never_works_again(tape: Tape) -> str:
    """Another does; of this one every try is answered with that nobody knows."""
    ok = tape.message()
    session = tape.all(e.Connect, user=ok.user)[-1]
    began = tape.one(e.Live, c=session.c).t
    end = tape.place(tape.one(e.Phase, name="end"))
    tape.events[end:] = [replace(each, t=each.t + 30) for each in tape.events[end:]]
    again = replace(tape.one(e.Invoke, user=ok.user, ref=ok.ref), t=began, c=session.c, retry=True)
    tape.events += [again, replace(ok, t=began, c=session.c)]
    for second in range(25):
        at = began + second
        tape.events += [
            replace(again, t=at, ref="stuck", digest="0", retry=second > 0),
            e.Unknown(at + 0.5, ok.user, session.c, "stuck", "unavailable"),
        ]
    tape.sort()
    return "stuck"


@breaks("I15")
def the_writer_stays_behind(tape: Tape) -> None:
    tape.change(tape.all(e.Sample, what="lag")[-1], value=5.0)


# In faults that last, or that the deployment has to stand -----------------------------------------


def strike(tape: Tape, name: str, detail: str, start: float, stop: float) -> None:
    """Put a fault between two times."""
    tape.events += [
        e.FaultEvent(start, name, "start", detail),
        e.FaultEvent(stop, name, "stop", detail),
    ]
    tape.sort()


@breaks("I2c")
def deaf_while_the_store_is_away(tape: Tape) -> str:
    ok = strand(tape, 8)
    tape.drop(*tape.all(e.FaultEvent, name="redis-flush"))
    strike(tape, "postgres-away", "postgres", ok.t - 0.001, ok.t + 5.001)
    return ok.id


def test_nobody_is_deaf_where_the_clients_stood_still_just_before() -> None:
    """So may have the servers, which then tell each other nothing."""
    tape = Tape()
    deaf_while_the_store_is_away(tape)
    assert "I2c" in {each.invariant for each in check(tape.events).violations}
    sent = max(
        tape.all(e.FaultEvent, name="postgres-away"), key=lambda each: each.phase == "start"
    ).t
    tape.events.append(e.Sample(sent, "stall", 0.3))
    tape.sort()
    assert "I2c" not in {each.invariant for each in check(tape.events).violations}


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
    ok = tape.one(e.Ok, id=deaf_while_the_store_is_away(tape))
    url = tape.one(e.Connect, c=ok.c).url
    if not is_its_own:
        url = next(each.url for each in tape.all(e.Connect) if each.url != url)
    what = f"directory_failures:{urlsplit(url).netloc}"
    struck = [each.t for each in tape.all(e.FaultEvent, name="postgres-away")]
    tape.events += [e.Sample(min(struck) + at, what, count) for at, count in counts]
    tape.sort()
    found = {each.invariant for each in check(tape.events).violations}
    assert ("I2c" not in found) == is_excused


@breaks("I11")
def accepted_by_a_log_that_keeps_nothing(tape: Tape) -> str:
    ok = tape.message()
    sent = tape.one(e.Invoke, user=ok.user, ref=ok.ref).t
    strike(tape, "settings-unsafe", "min.insync.replicas=1", sent - 10.001, ok.t + 0.001)
    return ok.id


@breaks("I11")
def accepted_by_a_log_that_deletes_what_is_not_stored(tape: Tape) -> str:
    ok = tape.message()
    sent = tape.one(e.Invoke, user=ok.user, ref=ok.ref).t
    strike(tape, "settings-retention", "retention.ms=20000", sent - 30.001, ok.t + 0.001)
    return ok.id


@breaks("I15")
def not_live_where_another_host_stands_in(tape: Tape) -> None:
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


@breaks("I15")
def not_ready_where_another_host_stands_in(tape: Tape) -> None:
    tape.events += [e.Sample(36.0 + second, "ready:ws-1", 0.0) for second in range(18)]
    strike(tape, "postgres-host-hang", "postgres-host-1", 35.0, 55.0)


@breaks("I15")
def no_send_succeeds_after_a_fault_that_is_not_the_last(tape: Tape) -> None:
    for ok in tape.all(e.Ok):
        if 30 < ok.t < 45:
            tape.exchange(ok, e.Unknown(ok.t, ok.user, ok.c, ok.ref, "unavailable"))
    strike(tape, "settings-retention", "retention.ms=20000", 26.0, 30.0)
    strike(tape, "postgres-pause", "postgres", 26.0, 46.0)  # sends do not need it
    strike(tape, "redis-flush", "redis", 46.0, 46.1)


@breaks("I2b")
def late_in_a_session_that_acknowledges_all_the_time(tape: Tape) -> str:
    """Its window is full because somebody else sends it more than it takes."""
    ok = strand(tape, 20)
    owe(tape, ok, acknowledged=400)
    return ok.id


@breaks("I12b")
def answered_late_beside_a_flood(tape: Tape) -> str:
    return beside_a_flood(tape).id


def beside_a_flood(tape: Tape) -> e.Ok:
    """Let a message wait for 3 s for its answer while its server is flooded."""
    ok = tape.message()
    sent = tape.one(e.Invoke, user=ok.user, ref=ok.ref).t
    url = tape.one(e.Connect, c=ok.c).url
    late = tape.change(ok, t=sent + 3)
    strike(tape, "flood-junk", url, sent - 0.0001, sent + 0.0001)
    return late


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


@pytest.mark.parametrize(
    ("doctoring", "invariants"), DOCTORINGS, ids=[each.__name__ for each, _ in DOCTORINGS]
)
def test_a_broken_history_is_found_out(doctoring: Doctoring, invariants: set[str]) -> None:
    """With the right invariant, the right message, and nothing else."""
    tape = Tape()
    message = doctoring(tape)
    verdict = check(tape.events)
    assert verdict.outcome == "fail"
    assert {each.invariant for each in verdict.violations} == invariants, verdict.violations
    for violation in verdict.violations:
        assert message in (violation.id, violation.ref) if message else violation.id is None
        assert violation.events == tuple(sorted(violation.events))
        assert all(0 <= at < len(tape.events) for at in violation.events)
        assert violation.events
    assert {name for name, found in verdict.findings.items() if found == "violated"} >= invariants


@pytest.mark.parametrize("seed", range(12))
def test_a_healthy_history_passes(seed: int) -> None:
    """With faults and without, whatever is lost, repeated, late or dead on the way."""
    verdict = check(healthy(seed, faults=seed % 3 != 0))
    assert (verdict.outcome, verdict.violations, verdict.reasons) == ("pass", (), ())
    not_judged = {name for name, found in verdict.findings.items() if found == "not judged"}
    assert not_judged == {"I2c", "I12b"}  # what needs faults of its own
    assert verdict.counts["received_again"] > 0
    assert verdict.counts["repeats"] > 0


# What the contract allows -------------------------------------------------------------------------

Allowed = Callable[[Tape], object]
ALLOWED: list[Allowed] = []


def allowed(doctoring: Allowed) -> Allowed:
    """Register a change that breaks nothing."""
    ALLOWED.append(doctoring)
    return doctoring


@allowed
def received_again_in_a_later_session(tape: Tape) -> None:
    recv = tape.one(e.Recv, id=tape.message().id)
    later = tape.all(e.Connect, user=recv.user)[-1]
    tape.after(later, replace(recv, t=later.t, c=later.c, n=1, replay=True))


@allowed
def a_repeat_without_retry_is_told_a_later_offset_and_another_refused(tape: Tape) -> None:
    ok = tape.message()
    invoke = tape.one(e.Invoke, user=ok.user, ref=ok.ref)
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
def an_unknown_send_that_never_existed(tape: Tape) -> None:
    ok = tape.message()
    tape.after(
        ok,
        e.Invoke(ok.t, ok.user, ok.c, "u0", "r-unknown", "digest-of-unknown", retry=False),
        e.Unknown(ok.t, ok.user, ok.c, "r-unknown", "unavailable"),
    )


@allowed
def an_unknown_send_that_exists(tape: Tape) -> None:
    ok = tape.message()
    tape.exchange(ok, e.Unknown(ok.t, ok.user, ok.c, ok.ref, "unavailable"))


@allowed
def a_message_lost_with_a_plain_connection(tape: Tape) -> None:
    """With `ack=auto` what was written to a dying connection counts as delivered."""
    first = {row.id: row.recipient for row in tape.all(e.DeliveryRow)}
    acks = {id for ack in tape.all(e.Ack) for id in ack.ids}
    recv = next(
        each
        for each in tape.all(e.Recv, user="u6")
        if first[each.id] == "u6"
        if each.id not in acks
    )
    tape.drop(recv)


@allowed
def delivered_to_a_plain_session_before_its_welcome_was_read(tape: Tape) -> None:
    status = tape.all(e.Status, by="u6")[0]
    connect = tape.all(e.Connect, user="u6")[0]
    assert connect.ack == "auto"
    tape.drop(connect)
    tape.after(status, replace(connect, t=status.t))


@allowed
def stranded_while_the_log_is_away(tape: Tape) -> None:
    ok = strand(tape, 20)
    tape.after(ok, e.FaultEvent(ok.t, "kafka-stop", "start", ""))


@allowed
def stranded_while_the_recipients_server_is_stopped(tape: Tape) -> None:
    ok = strand(tape, 20)
    recv = tape.one(e.Recv, id=ok.id)
    server = tape.one(e.Connect, c=recv.c).server
    tape.after(ok, e.FaultEvent(ok.t, "server-stop", "start", server))
    tape.after(recv, e.FaultEvent(recv.t, "server-stop", "stop", server))


@allowed
def stranded_behind_a_window_that_is_nearly_full(tape: Tape) -> None:
    owe(tape, strand(tape, 20), acknowledged=0)


@allowed
def stranded_behind_a_window_that_empties_slowly(tape: Tape) -> None:
    owe(tape, strand(tape, 20), acknowledged=200)


def owe(tape: Tape, ok: e.Ok, *, acknowledged: int) -> None:
    """Have the session that receives a message owe 150 acknowledgements, while it gives so many."""
    recv = tape.one(e.Recv, id=ok.id)
    live = next(each for each in tape.all(e.Live, c=recv.c))
    for number in range(150 + acknowledged):
        name, to = f"unacknowledged-{number}", recv.user
        at = live.t if number < 150 else ok.t + 15 * (number - 149) / (acknowledged + 1)
        tape.events += [
            e.Invoke(at, "u0", "c-none", to, name, name, retry=False),
            e.Recv(
                at, to, recv.c, number, name, f"dm:u0:{to}", "u0", to, name, 20_000 + number,
                "2026-01-02T03:04:05.678Z", replay=False,
            ),
            e.Unknown(at, "u0", "c-none", name, "unavailable"),
        ]  # fmt: skip
        if number >= 150:
            tape.events.append(e.Ack(at, to, recv.c, (name,)))
    tape.sort()
    tape.events = [each for each in tape.events if not isinstance(each, e.Dump)]


@allowed
def slow_while_the_store_is_away_before_the_session_had_its_5_seconds(tape: Tape) -> None:
    """Who has just connected may still be catching up."""
    ok = strand(tape, 8)
    tape.drop(*tape.all(e.FaultEvent, name="redis-flush"))
    session = tape.one(e.Connect, c=tape.one(e.Recv, id=ok.id).c)
    tape.change(session, t=ok.t - 4)
    strike(tape, "postgres-away", "postgres", ok.t - 5, ok.t + 5.001)


@allowed
def accepted_before_a_server_can_have_noticed(tape: Tape) -> None:
    ok = tape.message()
    sent = tape.one(e.Invoke, user=ok.user, ref=ok.ref).t
    strike(tape, "settings-unsafe", "min.insync.replicas=1", sent - 9, ok.t + 0.001)


@allowed
def slow_beside_a_flood_at_another_server(tape: Tape) -> None:
    ok = beside_a_flood(tape)
    url = tape.one(e.Connect, c=ok.c).url
    for struck in tape.all(e.FaultEvent, detail=url):
        tape.change(
            struck, detail=next(each.url for each in tape.all(e.Connect) if each.url != url)
        )


@pytest.mark.parametrize("doctoring", ALLOWED, ids=[each.__name__ for each in ALLOWED])
def test_what_the_contract_allows_is_not_flagged(doctoring: Allowed) -> None:
    tape = Tape()
    doctoring(tape)
    assert check(tape.events).violations == ()


# Not vacuous --------------------------------------------------------------------------------------


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


def test_who_never_came_back_is_owed_nothing_and_proves_nothing() -> None:
    tape = Tape()
    gone = {each.c for each in tape.all(e.Connect, user="u8")}
    for receipts in tape.all(e.ReceiptsRecord, recipient="u8"):
        spare = e.ForeignRecord(receipts.t, receipts.partition, receipts.offset)
        tape.exchange(receipts, spare)
    for row in tape.all(e.DeliveryRow, recipient="u8"):
        tape.change(row, status="UNDELIVERED")
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
    invoke = tape.one(e.Invoke, user=ok.user, ref=ok.ref)
    tape.after(
        ok, replace(invoke, t=ok.t, digest="other"), e.Unknown(ok.t, ok.user, ok.c, ok.ref, "x")
    )
    assert is_unknown(tape.events, "a ref was used for two messages")


def test_without_dumps_and_samples_the_rest_is_judged() -> None:
    gone = e.Record | e.MessageRow | e.DeliveryRow | e.AppliedRow | e.QuarantineRow | e.Dump
    events = [each for each in base() if not isinstance(each, gone | e.Sample)]
    verdict = check(events)
    assert verdict.outcome == "pass"
    not_judged = {name for name, found in verdict.findings.items() if found == "not judged"}
    assert not_judged == {"I1", "I2c", "I9", "I10", "I11", "I12b", "I14"}
