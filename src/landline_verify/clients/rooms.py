"""What users ask of rooms: they make some, add and remove each other, and write into them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from landline_verify.clients.user import Draft, User
from landline_verify.history.recorder import digest, digest_of_member, digest_of_title

_LEAST: Final = 3
_MOST: Final = 10


@dataclass(slots=True, eq=False)
class Room:
    """A room as far as the users know it: its members, and who of them is an admin."""

    name: str
    members: dict[str, bool]


class Rooms:
    """The rooms of a run. What is asked for may be refused: others are at it at the same time."""

    def __init__(self, users: Sequence[User], count: int, chance: random.Random) -> None:
        self._users = users
        self._count = count
        self._chance = chance
        self._asked_for = 0
        self._rooms: list[Room] = []

    def draft(self, sender: User, ref: str, content: Callable[[], str]) -> Draft | None:
        """Return what a user asks of a room; None, if they are in none."""
        if self._asked_for < self._count:
            return self._create(sender, ref)
        mine = [room for room in self._rooms if sender.name in room.members]
        others = [room for room in self._rooms if sender.name not in room.members]
        if others and self._chance.random() < 0.01:  # to be refused
            return _message(self._chance.choice(others), ref, content())
        if not mine:
            return None
        room = self._chance.choice(mine)
        return self._change(room, sender, ref) or _message(room, ref, content())

    def _create(self, maker: User, ref: str) -> Draft:
        self._asked_for += 1
        others = [user.name for user in self._users if user is not maker]
        most = min(_MOST - 2, len(others))
        people = tuple(self._chance.sample(others, self._chance.randint(min(2, most), most)))

        def made(name: str) -> None:
            self._rooms.append(Room(name, {maker.name: True, **dict.fromkeys(people, False)}))

        title = f"Room {ref}"
        fields = {"title": title, "members": people}
        return Draft("", ref, digest_of_title(title), fields, "create", people, made)

    def _change(self, room: Room, sender: User, ref: str) -> Draft | None:
        """Return a change of a room, now and then."""
        dice, is_admin = self._chance.random(), room.members[sender.name]
        others = [name for name in room.members if name != sender.name]
        strangers = [user.name for user in self._users if user.name not in room.members]
        if dice < 0.02 and is_admin and strangers and len(room.members) < _MOST:
            return _member(room, ref, self._chance.choice(strangers), "add")
        if dice < 0.04 and is_admin and len(room.members) > _LEAST:
            return _member(room, ref, self._chance.choice(others), "remove")
        if dice < 0.045 and len(room.members) > _LEAST:
            return _member(room, ref, sender.name, "remove")
        if dice < 0.05 and is_admin and others:
            role = self._chance.choice(("admin", "member"))
            return _member(room, ref, self._chance.choice(others), "role", role)
        if dice < 0.055:  # refused to those who are no admins
            title = self._chance.choice((None, f"Room {ref}"))
            fields = {"conversation": room.name, "title": title}
            return Draft(room.name, ref, digest_of_title(title), fields, "room")
        return None


def _message(room: Room, ref: str, content: str) -> Draft:
    fields = {"conversation": room.name, "content": content}
    return Draft(room.name, ref, digest(content), fields)


def _member(room: Room, ref: str, name: str, change: str, role: str = "member") -> Draft:
    def changed(_: str) -> None:
        if change == "remove":
            room.members.pop(name, None)
        elif change == "add":
            room.members.setdefault(name, False)
        elif name in room.members:
            room.members[name] = role == "admin"

    fields = {"conversation": room.name, "user": name, "change": change}
    if change == "role":
        fields["role"] = role
    said = digest_of_member(name, change, role)
    return Draft(room.name, ref, said, fields, "member", (name,), changed)
