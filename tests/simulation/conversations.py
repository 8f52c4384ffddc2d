"""Who is in which conversation, and how far they have seen it: the log folded once more, in as few
words as may be, and without the server's.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from simulation.seen import Event

# Members of a conversation, the oldest first, and what they are.
Members = Mapping[str, str]


class Step(NamedTuple):
    """An event of a conversation, and who is in it then."""

    record: Event
    members: Members

    @property
    def offset(self) -> int:
        """Return where it stands."""
        return int(self.record["offset"])


class Conversations:
    """All conversations of a log."""

    def __init__(self) -> None:
        self.steps: dict[str, list[Step]] = {}
        self.seen: dict[str, dict[str, int]] = {}  # how far members have seen it
        self.titles: dict[str, str] = {}  # digests
        self.histories: dict[str, str] = {}
        self._step_of: dict[str, Step] = {}

    def note(self, record: Event) -> None:
        """Take an event, in the order of its partition; one that comes again says nothing new."""
        name, what = record["conversation"], record["change"]
        steps = self.steps.setdefault(name, [])
        members = dict(steps[-1].members if steps else dict.fromkeys(participants(name), "member"))
        if record["members"] is not None and not steps:
            members = dict.fromkeys(record["members"], "member")
            members[record["members"][0]] = "admin"
            self.histories[name] = record["history"]
        elif what["type"] == "member" and what["change"] == "add":
            members.setdefault(what["user"], what["role"])
        elif what["type"] == "member" and what["change"] == "remove":
            members.pop(what["user"], None)
        elif what["type"] == "member" and what["user"] in members:
            members[what["user"]] = what["role"]
        if is_room(name) and members and "admin" not in members.values():
            members[next(iter(members))] = "admin"
        if what["type"] == "room" and (record["members"] is None or not steps):
            self.titles[name] = record["digest"]
        self._begin_to_see(name, members, record["offset"])
        step = self._step_of[record["id"]] = Step(record, members)
        steps.append(step)

    def _begin_to_see(self, name: str, members: Members, offset: int) -> None:
        before = self.seen.get(name, {})
        first = offset - 1 if is_room(name) else -1
        self.seen[name] = {user: before.get(user, first) for user in members}

    def note_reads(self, record: Event) -> None:
        """Take a record of marks."""
        seen = self.seen.get(record["conversation"], {})
        for user, offset in record["entries"]:
            if user in seen:
                seen[user] = max(seen[user], min(offset, record["offset"]))

    def members_at(self, id: str) -> Members:
        """Return who is in the conversation as an event leaves it."""
        return self._step_of[id].members

    def members_before(self, id: str) -> Members:
        """Return who was in the conversation right before an event."""
        step = self._step_of[id]
        steps = self.steps[step.record["conversation"]]
        place = steps.index(step)
        return steps[place - 1].members if place else {}

    def last_members(self, name: str) -> Members:
        """Return who is in it in the end."""
        steps = self.steps.get(name)
        return steps[-1].members if steps else {}

    def owed(self, record: Event) -> frozenset[str]:
        """Return who is owed an event of a room: the members at it, unless they leave later."""
        members = set(self.members_at(record["id"]))
        for step in self.steps[record["conversation"]]:
            if step.offset > record["offset"]:
                members &= set(step.members)
        return frozenset(members)

    def changes_of(self, name: str, user: str) -> Iterator[tuple[Event, bool]]:
        """Yield the events with which a user comes into a room, or is in it no more: whether they
        are in it from there on.
        """
        was_in = False
        for record, members in self.steps.get(name, ()):
            is_in = user in members
            if is_in != was_in:
                yield record, is_in
            was_in = is_in

    def visible(self, name: str, user: str) -> list[Event]:
        """Return what a member may see of a conversation, in its order."""
        is_all = self.histories.get(name) != "joined"
        steps = self.steps.get(name, ())
        return [record for record, members in steps if is_all or user in members]


def is_room(name: str) -> bool:
    """Say whether a conversation is a room."""
    return name.startswith("room:")


def participants(name: str) -> list[str]:
    """Return who is in a direct conversation; nobody for a room."""
    return [] if is_room(name) else name.split(":")[1:]
