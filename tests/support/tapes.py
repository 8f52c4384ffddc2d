"""Healthy histories, to be broken in one way: the checker must find that way, and no other."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from landline_verify.checker.check import check
from landline_verify.history import events as e
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

    def sent(self, ok: e.Ok) -> e.Invoke:
        """Return the only try of an accepted send."""
        return self.one(e.Invoke, user=ok.user, ref=ok.ref)

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
        """Return the ok of a plain message: the one that tests hurt."""
        return plain()

    def forget_receipt(self, id: str) -> None:
        """Make it as if the recipient had never acknowledged."""
        receipts = self.one(e.ReceiptsRecord, id=id)
        self.exchange(receipts, e.ForeignRecord(receipts.t, receipts.partition, receipts.offset))
        self.owe(self.one(e.StatusRow, id=id))
        self.drop(*self.all(e.Ack, id=id), *self.all(e.Status, id=id))

    def owe(self, row: e.StatusRow) -> None:
        """Make it as if the store had no receipt."""
        record = self.one(e.MessageRow, id=row.id)
        changed = self.change(row, status="UNDELIVERED")
        place = (record.partition, record.offset)
        owed = e.PendingRow(row.t, row.recipient, None, *place, row.id, is_received=False)
        self.after(changed, owed)

    def forget_receipts_of(self, user: str) -> None:
        """Make it as if the store and the log had none of this user."""
        for receipts in self.all(e.ReceiptsRecord):
            if user in {name for name, _device, _ids in receipts.entries}:
                spare = e.ForeignRecord(receipts.t, receipts.partition, receipts.offset)
                self.exchange(receipts, spare)
        for row in self.all(e.StatusRow, recipient=user, status="DELIVERED"):
            self.owe(row)

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
            e.StatusRow(last.t, id, to, "UNDELIVERED"),
            e.PendingRow(last.t, to, None, *place, id, is_received=False),
        )


@cache
def plain() -> e.Ok:
    """Return the ok of one plain message."""
    return next(iter(Tape().plain_messages()))


Doctoring = Callable[[Tape, e.Ok], object]
Test = Callable[[], None]


def breaks(*invariants: str, at_a_message: bool = True) -> Callable[[Doctoring], Test]:
    """Make a test of a way to break a history: these invariants are reported, and nothing else.

    All reports name the message that it gets, or the id or ref that it returns, or no message.
    """

    def to_test(doctoring: Doctoring) -> Test:
        def test() -> None:
            tape = Tape()
            hurt = doctoring(tape, tape.message()) or tape.message().id
            verdict = check(tape.events)
            assert verdict.outcome == "fail"
            assert {each.invariant for each in verdict.violations} == set(invariants), (
                verdict.violations
            )
            for violation in verdict.violations:
                named = (violation.id, violation.ref)
                assert hurt in named if at_a_message else violation.id is None
                assert violation.events == tuple(sorted(violation.events))
                assert all(0 <= at < len(tape.events) for at in violation.events)
                assert violation.events
            violated = {name for name, found in verdict.findings.items() if found == "violated"}
            assert violated >= set(invariants)

        return _named(test, doctoring)

    return to_test


def allowed(doctoring: Doctoring) -> Test:
    """Make a test of a change that breaks nothing."""

    def test() -> None:
        tape = Tape()
        doctoring(tape, tape.message())
        assert check(tape.events).violations == ()

    return _named(test, doctoring)


def _named(test: Test, doctoring: Doctoring) -> Test:
    test.__name__, test.__doc__ = doctoring.__name__, doctoring.__doc__
    return test


def violated(tape: Tape) -> set[str]:
    """Return the invariants that a history breaks."""
    return {each.invariant for each in check(tape.events).violations}


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


def strike(tape: Tape, name: str, detail: str, start: float, stop: float) -> None:
    """Put a fault between two times."""
    tape.events += [
        e.FaultEvent(start, name, "start", detail),
        e.FaultEvent(stop, name, "stop", detail),
    ]
    tape.sort()


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


def beside_a_flood(tape: Tape) -> e.Ok:
    """Let a message wait for 3 s for its answer while its server is flooded."""
    ok = tape.message()
    sent = tape.sent(ok).t
    url = tape.one(e.Connect, c=ok.c).url
    late = tape.change(ok, t=sent + 3)
    strike(tape, "flood-junk", url, sent - 0.0001, sent + 0.0001)
    return late
