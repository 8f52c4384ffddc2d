"""Tells what befell one message: every event that concerns it, in the order of time, with the
sessions of those who sent and should receive it, and the faults of that time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from landline_verify.checker.verdict import Violation
from landline_verify.history.events import (
    Ack,
    Connect,
    Disconnect,
    Event,
    FaultEvent,
    Invoke,
    Live,
    MemberRecord,
    MessageRecord,
    Ok,
    Paged,
    Phase,
    ReceiptsRecord,
    Recv,
    RoomRecord,
    Status,
)

# Sessions and faults this near to a message's events belong to its story.
AROUND_SECONDS: Final = 5.0
# So many values of a field are told.
_TOLD: Final = 5

# Fields that a line does not repeat: they begin it, or say nothing about one message.
_UNTOLD: Final = frozenset({"entries", "t", "user", "c", "n", "ids", "time"})


def tell(history: Sequence[Event], violation: Violation) -> list[str]:
    """Return the story of the message that a violation names, one event a line. The events on which
    the violation rests are marked; where it names no message, they are the story.
    """
    subject = _Subject(violation)
    subject.learn(history)
    chosen = set(violation.events)
    chosen.update(at for at, event in enumerate(history) if subject.is_met_in(event))
    times = [history[at].t for at in chosen if not _is_dump(history[at])]
    if times:
        start, end = min(times) - AROUND_SECONDS, max(times) + AROUND_SECONDS
        chosen.update(
            at
            for at, event in enumerate(history)
            if start <= event.t <= end and subject.is_background(event)
        )
    return [
        f"{'>' if at in violation.events else ' '} {_line(history[at])}" for at in sorted(chosen)
    ]


@dataclass(slots=True)
class _Subject:
    """The message of a violation: its id, its send, and the users whom it concerns."""

    violation: Violation
    id: str | None = None
    send: tuple[str, str] | None = None
    people: set[str] = field(default_factory=set)

    def learn(self, history: Sequence[Event]) -> None:
        """Find id, send and people, of which a violation may name one only."""
        self.id = self.violation.id
        if self.violation.sender is not None and self.violation.ref is not None:
            self.send = (self.violation.sender, self.violation.ref)
        for event in history:
            if isinstance(event, Ok):
                if self.id is None and (event.user, event.ref) == self.send:
                    self.id = event.id
                elif self.send is None and event.id == self.id:
                    self.send = (event.user, event.ref)
        for at, event in enumerate(history):
            if at in self.violation.events or self.is_met_in(event):
                self._meet(event)

    def _meet(self, event: Event) -> None:
        if isinstance(event, Invoke):
            self.people.update((event.user, event.to, *event.people))
        elif isinstance(event, MessageRecord):
            self.people.update((event.sender, *event.recipients))
        elif isinstance(event, RoomRecord | MemberRecord):
            self.people.add(event.sender)
        elif isinstance(event, Recv):
            self.people.update((event.user, event.sender))
        elif isinstance(event, Connect):
            self.people.add(event.user)

    def is_met_in(self, event: Event) -> bool:
        """Say whether an event concerns this message."""
        if isinstance(event, Ack | Status | ReceiptsRecord):
            return self.id is not None and self.id in event.ids
        if self.id is not None and getattr(event, "id", None) == self.id:
            return True
        if isinstance(event, Paged):
            return any(id == self.id for id, *_ in event.messages)
        ref = getattr(event, "ref", None)
        return ref is not None and (getattr(event, "user", None), ref) == self.send

    def is_background(self, event: Event) -> bool:
        """Say whether an event belongs to the time and people of this story."""
        if isinstance(event, Connect | Live | Disconnect):
            return event.user in self.people
        return isinstance(event, FaultEvent | Phase)


def _is_dump(event: Event) -> bool:
    return event.kind in ("record", "row", "dump")


def _line(event: Event) -> str:
    when = "   at the end" if _is_dump(event) else f"{event.t:10.3f} s "
    what = event.kind if event.variant is None else f"{event.kind} {event.variant[1]}"
    who = " ".join(str(getattr(event, name)) for name in ("user", "c") if hasattr(event, name))
    return f"{when} {who:<24} {what:<12} {' '.join(_details(event))}".rstrip()


def _several(values: tuple[Any, ...]) -> str:
    """Return the first few of them."""
    told = [each if isinstance(each, str) else ":".join(map(str, each)) for each in values]
    more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return ", ".join(told[:_TOLD]) + more


def _details(event: Event) -> Iterator[str]:
    if isinstance(event, ReceiptsRecord):
        yield f"of={', '.join(dict.fromkeys(user for user, _device, _ids in event.entries))}"
    for each in fields(event):
        value = getattr(event, each.name)
        if each.name not in _UNTOLD and value != each.default:
            yield f"{each.name}={_several(value) if isinstance(value, tuple) else value}"
    if len(ids := getattr(event, "ids", ())) > 1:
        yield f"with {len(ids) - 1} others"
