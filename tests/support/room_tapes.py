"""A short history of a room, several devices, read marks and pages, to be broken in one way.

`ann` makes the room and has no device, `bob` has a phone, and a tablet that stays away after a
while, `cid` is a member from the beginning, and `dan` is added, removed, and in no room before.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from landline_verify.checker.check import check
from landline_verify.history import events as e

E = TypeVar("E", bound=e.Event)

TIME = "2026-01-02T03:04:05.678Z"
URL = "ws://ws-1"
ROOM = "room:1"
DIRECT = "dm:ann:bob"


@dataclass(frozen=True, slots=True)
class Seat:
    """An open session."""

    user: str
    device: str | None
    c: str


class RoomTape:
    """The history; `ids` are those of what was said, by name."""

    def __init__(self, history: Literal["all", "joined"] = "all") -> None:
        self.events: list[e.Event] = []
        self.ids: dict[str, str] = {}
        self._history = history
        self._t = 0.0
        self._log: list[e.Record] = []
        self._seats: list[Seat] = []
        self._members: dict[str, tuple[str, int]] = {}  # role, and since when
        self._devices: defaultdict[str, list[str]] = defaultdict(list)
        self._owed: dict[tuple[str, str | None, str], bool] = {}
        self._received: set[tuple[str, str]] = set()
        self._read: dict[tuple[str, str], int] = {}
        self._make()

    # What happens ----------------------------------------------------------------------------

    def _make(self) -> None:
        options = {"rooms": 1, "devices": 2}
        self._add(e.Run(0.0, e.VERSION, 1, (URL,), options, "2026-01-02T03:04:05Z", 10.0, 15.0))
        self._add(e.Phase(self._now(), "load"))
        ann, cid, dan = (self._connect(name) for name in ("ann", "cid", "dan"))
        phone, tablet = self._connect("bob", "phone"), self._connect("bob", "tablet")
        self._say(ann, "make", what="create", people=("bob", "cid"))
        self._say(ann, "hello")
        self._say(phone, "from the phone")
        self._leave(tablet)
        self._say(ann, "without the tablet")
        self._say(ann, "direct", to="bob")
        self._say(phone, "direct from the phone", to="ann")
        self._mark(cid, ROOM, "hello")
        self._mark(phone, DIRECT, "direct")
        self._say(ann, "add", what="member", people=("dan",), change="add")
        self._say(cid, "to dan too")
        self._say(ann, "remove", what="member", people=("dan",), change="remove")
        self._t += 5
        self._say(ann, "without dan")
        self._say(ann, "rename", what="room")
        self._add(e.Phase(self._now(), "heal"))
        self._add(e.Phase(self._now(), "final"))
        self._t += 6
        self._list(cid)
        self._pages(cid)
        self._list(phone)
        for seat in (ann, cid, dan, phone):
            self._leave(seat, is_over=True)
        self._add(e.Phase(self._now(), "end"))
        self._dump()

    def _add(self, event: e.Event) -> None:
        self.events.append(event)

    def _now(self) -> float:
        self._t = round(self._t + 0.01, 6)
        return self._t

    def _connect(self, user: str, device: str | None = None) -> Seat:
        seat = Seat(user, device, f"c-{user}-{device}")
        if device is not None:
            self._devices[user].append(device)
            self._write(lambda t, n, offset: e.DeviceRecord(t, n, offset, user, device, "add"))
        self._add(
            e.Connect(
                self._now(), user, seat.c, URL, "ws-1", f"s-{seat.c}", "sqlite:fsync", "client",
                "steady", device, None if device is None else True,
            )
        )  # fmt: skip
        self._add(e.Live(self._now(), user, seat.c, 0))
        self._seats.append(seat)
        return seat

    def _leave(self, seat: Seat, *, is_over: bool = False) -> None:
        self._seats.remove(seat)
        # After the phase `final`, in which it was live.
        self._add(
            e.Disconnect(self._now(), seat.user, seat.c, 1000, "client" if is_over else "network")
        )

    def _write(self, make: Callable[[float, int, int], e.Record]) -> int:
        offset = 100 + len(self._log)
        self._log.append(make(self._t, 0, offset))
        return offset

    def _say(
        self,
        seat: Seat,
        name: str,
        *,
        to: str = "",
        what: Literal["send", "create", "member", "room"] = "send",
        people: tuple[str, ...] = (),
        change: Literal["add", "remove"] = "add",
    ) -> None:
        """Ask for something, which is appended, accepted, pushed, and acknowledged."""
        id, ref, digest = f"id of {name}", f"ref of {name}", f"digest of {name}"
        self.ids[name] = id
        aim = to or ("" if what == "create" else ROOM)
        self._add(
            e.Invoke(
                self._now(), seat.user, seat.c, aim, ref, digest, retry=False, what=what,
                people=people,
            )
        )  # fmt: skip
        conversation = f"dm:{min(seat.user, to)}:{max(seat.user, to)}" if to else ROOM

        def record(t: float, partition: int, offset: int) -> e.Record:
            at, device = (t, partition, offset), seat.device
            said = (id, seat.user, conversation, digest)
            if what == "member":
                return e.MemberRecord(
                    *at, *said, device, user=people[0], change=change, role="member"
                )
            if what == "create":
                return e.RoomRecord(
                    *at, *said, device, members=(seat.user, *people), history=self._history
                )
            if what == "room":
                return e.RoomRecord(*at, *said, device)
            recipients = (to,) if to else ()
            return e.MessageRecord(*at, id, seat.user, recipients, conversation, digest, device)

        offset = self._write(record)
        self._change(what, seat.user, people, change, offset)
        self._add(e.Ok(self._now(), seat.user, seat.c, ref, id, conversation, offset, TIME))
        people_of = (to, seat.user) if to else tuple(self._members)
        self._owe(id, people_of, seat)
        kind: Literal["message", "member", "room"] = (
            "message" if what == "send" else "member" if what == "member" else "room"
        )
        hearing = {*people_of, *people} if what == "member" else {*people_of}
        for other in self._seats:
            if other.user in hearing and (other.user, other.device) != (seat.user, seat.device):
                self._add(
                    e.Recv(
                        self._now(), other.user, other.c, len(self.events), id, conversation,
                        seat.user, to, digest, offset, TIME, replay=False, what=kind,
                    )
                )  # fmt: skip
                self._add(e.Ack(self._now(), other.user, other.c, (id,)))
                self._receive(other, seat, id, conversation, to)

    def _change(
        self, what: str, maker: str, people: Iterable[str], change: str, offset: int
    ) -> None:
        if what == "create":
            self._members = dict.fromkeys((maker, *people), ("member", offset))
            self._members[maker] = ("admin", offset)
        elif what == "member":
            for user in people:
                if change == "add":
                    self._members[user] = ("member", offset)
                else:
                    del self._members[user]
                    self._owed = {key: is_so for key, is_so in self._owed.items() if key[0] != user}

    def _owe(self, id: str, users: Iterable[str], seat: Seat) -> None:
        for user in users:
            for device in self._devices[user] or (None,):
                if (user, device) != (seat.user, seat.device):
                    self._owed[user, device, id] = user == seat.user

    def _receive(self, reader: Seat, sender: Seat, id: str, conversation: str, to: str) -> None:
        """Write a receipt, and tell the sender of the first one of a direct message."""
        entries = ((reader.user, reader.device, (id,)),)
        self._write(lambda t, n, offset: e.ReceiptsRecord(t, n, offset, entries, conversation))
        self._owed.pop((reader.user, reader.device, id), None)
        for key in self._owed:
            if (key[0], key[2]) == (reader.user, id):
                self._owed[key] = True
        if to == reader.user and (id, to) not in self._received:
            self._add(e.Status(self._now(), sender.user, sender.c, (id,), to, TIME))
        self._received.add((id, reader.user))

    def _mark(self, seat: Seat, conversation: str, name: str) -> None:
        offset = self._offset(self.ids[name])
        self._add(e.Mark(self._now(), seat.user, seat.c, conversation, offset))
        marks = ((seat.user, offset),)
        self._write(lambda t, n, at: e.ReadRecord(t, n, at, conversation, marks))
        self._read[conversation, seat.user] = offset
        self._add(e.Marked(self._now(), seat.user, seat.c, conversation, marks))

    def _timeline(self, conversation: str) -> list[e.Said]:
        return [
            each
            for each in self._log
            if isinstance(each, e.Said) and each.conversation == conversation
        ]

    def _offset(self, id: str) -> int:
        return next(each.offset for each in self._log if isinstance(each, e.Said) and each.id == id)

    def _read_by(self, conversation: str, user: str) -> int:
        joined = 0 if conversation == DIRECT else self._members[user][1]
        return self._read.get((conversation, user), joined - 1)

    def _list(self, seat: Seat) -> None:
        request = f"list of {seat.c}"
        self._add(e.Ask(self._now(), seat.user, seat.c, "list", request))
        items = []
        for conversation in (ROOM, DIRECT):
            if conversation == ROOM or seat.user in ("ann", "bob"):
                timeline = self._timeline(conversation)
                read = self._read_by(conversation, seat.user)
                unread = sum(each.offset > read and each.sender != seat.user for each in timeline)
                items.append((conversation, timeline[-1].offset, read, unread))
        self._add(e.Listed(self._now(), seat.user, seat.c, request, tuple(items)))

    def _pages(self, seat: Seat) -> None:
        """Read the room from its end to its beginning, in two pages."""
        timeline = self._timeline(ROOM)
        middle = timeline[4].offset
        for before, events in ((None, timeline[4:]), (middle, timeline[:4])):
            request = f"page before {before}"
            self._add(e.Ask(self._now(), seat.user, seat.c, "history", request, ROOM, before))
            first = 0 if before else middle
            last = before - 1 if before else 99 + len(self._log)
            said = tuple((each.id, each.offset, each.digest) for each in events)
            at = (self._now(), seat.user, seat.c, request, ROOM)
            self._add(e.Paged(*at, said, first, last, complete=bool(before)))

    # Log and store ---------------------------------------------------------------------------

    def _dump(self) -> None:
        t = self._now()
        for record in self._log:
            if isinstance(record, e.Said):
                place = (record.partition, record.offset)
                said = (record.id, record.sender, record.conversation, record.digest)
                self._add(e.MessageRow(t, *said, *place))
                if isinstance(record, e.MessageRecord):
                    self._dump_statuses(t, record)
        for (user, device, id), is_received in self._owed.items():
            self._add(e.PendingRow(t, user, device, 0, self._offset(id), id, is_received))
        for user, (role, joined) in self._members.items():
            self._add(e.MemberRow(t, ROOM, user, role, joined, self._read_by(ROOM, user)))
        for user in ("ann", "bob"):
            self._add(e.MemberRow(t, DIRECT, user, "member", 0, self._read_by(DIRECT, user)))
        self._add(e.AppliedRow(t, 0, 100 + len(self._log)))
        self._add(e.Dump(t, "store", True))
        self.events += [replace(each, t=t) for each in self._log]
        self._add(e.Dump(t, "log", True))

    def _dump_statuses(self, t: float, record: e.MessageRecord) -> None:
        users = record.recipients or [
            user
            for user, (_, joined) in self._members.items()
            if joined <= record.offset and user != record.sender
        ]
        for user in users:
            is_delivered = (record.id, user) in self._received
            self._add(
                e.StatusRow(t, record.id, user, "DELIVERED" if is_delivered else "UNDELIVERED")
            )

    # To break it -----------------------------------------------------------------------------

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

    def drop(self, *events: e.Event) -> None:
        """Make it as if these had not been."""
        for event in events:
            del self.events[self._place(event)]

    def change(self, event: E, **values: Any) -> E:
        """Give an event other values."""
        changed = replace(event, **values)
        self.events[self._place(event)] = changed
        return changed

    def after(self, event: e.Event, *more: e.Event) -> None:
        """Put events behind another one."""
        at = self._place(event) + 1
        self.events[at:at] = more

    def exchange(self, one: e.Event, other: e.Event) -> None:
        """Put an event in the place of another, which goes."""
        self.events[self._place(one)] = other

    def _place(self, event: e.Event) -> int:
        return next(at for at, each in enumerate(self.events) if each is event)

    def forget_receipt(self, name: str, user: str, device: str | None) -> None:
        """Make it as if a mailbox had acknowledged nothing of this."""
        id = self.ids[name]
        for ack in self.all(e.Ack, id=id, user=user, c=f"c-{user}-{device}"):
            self.drop(ack)
        for record in self.all(e.ReceiptsRecord, id=id):
            if record.entries[0][:2] == (user, device):
                self.exchange(record, e.ForeignRecord(record.t, 0, record.offset))


def found(tape: RoomTape) -> dict[str, set[str | None]]:
    """Return the invariants that a history breaks, and which messages are named."""
    broken: defaultdict[str, set[str | None]] = defaultdict(set)
    for violation in check(tape.events).violations:
        assert violation.events == tuple(sorted(violation.events))
        assert violation.events
        broken[violation.invariant].add(violation.id)
    return dict(broken)
