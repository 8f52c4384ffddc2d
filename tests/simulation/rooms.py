"""What people do in rooms: make them, talk, come and go, mark what they have seen, and ask."""

from collections.abc import Callable
from typing import Any

from landline.model import History, MemberStep, Role
from landline.protocol.client_frames import ChangeMember, ChangeRoom, Create, Send
from landline.protocol.identity import direct_conversation, room_conversation
from simulation.clients import Client
from simulation.link import Link
from simulation.weather import OUTSIDE
from simulation.world import World

# Whoever does something in a room is mostly somebody who is in it.
_MEMBERS = 0.85
_HISTORIES = (History.ALL, History.JOINED)
_FEW = 3  # rows of a page, so that there are several


class Rooms:
    """The rooms of a run, and what may happen in them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self._created: list[tuple[Client, Create]] = []
        self.names: list[str] = []

    def chosen(self) -> list[tuple[Callable[[], None], float]]:
        """Return what may happen, if there are rooms."""
        if not self._world.plan.rooms:
            return []
        return [
            (self.talk, 30),
            (self._add, 5),
            (self._remove, 5),
            (self._leave, 2),
            (self._name, 3),
            (self._give_title, 2),
            (self._make_again, 1),
            (self._talk_without_ref, 1),
            (self._mark, 6),
            (self._ask, 8),
        ]

    def make(self) -> None:
        """Have rooms made, with some of the users in them."""
        for _ in range(self._world.plan.rooms):
            creator = self._world.somebody()
            members = [each.user for each in self._world.clients if self._rng.random() < 0.6]
            ref = self._world.next_name("r")
            request = Create(f"title {ref}", tuple(members), self._rng.choice(_HISTORIES), ref)
            self._created.append((creator, request))
            self.names.append(room_conversation(creator.user, ref))
            creator.request(request)

    def talk(self) -> None:
        """Have somebody write into a room."""
        name = self._a_room()
        self.talk_in(name, self._somebody_of(name))

    def talk_in(self, name: str, sender: Client) -> None:
        """Have somebody write into this room."""
        ref = self._world.next_name("r")
        self._world.happened["talk"] += 1
        sender.request(Send("", f"text {ref}", ref, conversation=name))

    def members_of(self, name: str) -> list[Client]:
        """Return who is in a room, as the store knows it."""
        found = self._world.store.conversations.get(name)
        return [each for each in self._world.clients if found and each.user in found.members]

    def _a_room(self) -> str:
        return self._rng.choice(self.names)

    def _somebody_of(self, name: str, role: Role | None = None) -> Client:
        members = self.members_of(name)
        if role is not None:
            found = self._world.store.conversations.get(name)
            members = [each for each in members if found and found.members[each.user].role is role]
        if members and self._rng.random() < _MEMBERS:
            return self._rng.choice(members)
        return self._world.somebody()

    def _change(self, name: str, by: Client, user: str, step: MemberStep, role: Role) -> None:
        self._world.happened[step] += 1
        by.request(ChangeMember(name, user, step, role, self._world.next_name("r")))

    def _add(self) -> None:
        name = self._a_room()
        members = self.members_of(name)
        others = [each for each in self._world.clients if each not in members]
        whom = self._rng.choice(others) if others else self._world.somebody()
        by = self._somebody_of(name, Role.ADMIN)
        self._change(name, by, whom.user, MemberStep.ADD, Role.MEMBER)
        if self._rng.random() < 0.5:  # others talk meanwhile
            self.talk_in(name, self._somebody_of(name))
        if self._rng.random() < 0.5:  # and the new one soon
            later = 0.1 + self._rng.random()
            self._world.loop.call_later(later, self.talk_in, name, whom, context=OUTSIDE)

    def _remove(self) -> None:
        name = self._a_room()
        by, whom = self._somebody_of(name, Role.ADMIN), self._somebody_of(name)
        self._change(name, by, whom.user, MemberStep.REMOVE, Role.MEMBER)
        for _ in range(self._rng.choice((0, 1, 3))):
            self.talk_in(name, self._somebody_of(name))

    def _leave(self) -> None:
        name = self._a_room()
        whom = self._somebody_of(name)
        self._change(name, whom, whom.user, MemberStep.REMOVE, Role.MEMBER)

    def _name(self) -> None:
        name = self._a_room()
        by, whom = self._somebody_of(name, Role.ADMIN), self._somebody_of(name)
        role = self._rng.choice((Role.ADMIN, Role.ADMIN, Role.MEMBER))
        self._change(name, by, whom.user, MemberStep.ROLE, role)

    def _give_title(self) -> None:
        name = self._a_room()
        ref = self._world.next_name("r")
        self._world.happened["title"] += 1
        self._somebody_of(name, Role.ADMIN).request(ChangeRoom(name, f"title {ref}", ref))

    def _make_again(self) -> None:
        """Ask for another room with the same ref, which is refused; its title makes it another."""
        creator, request = self._rng.choice(self._created)
        self._world.happened["room again"] += 1
        title = self._world.next_name("other ")
        creator.request(Create(title, (), History.ALL, request.ref))

    def _talk_without_ref(self) -> None:
        if link := self._world.a_link():
            text = self._world.next_name("text ")
            link.client.send_once(link, "", text, room=self._a_room())

    def _mark(self) -> None:
        """Somebody has seen all of what has come so far, or half of it, or looks back there."""
        if (link := self._world.a_link()) and (offsets := self._offsets(link)):
            conversation = self._rng.choice(sorted(offsets))
            end = offsets[conversation]
            self._world.happened["mark"] += 1
            asking = self._client_of(link).asking
            for offset in self._rng.choice(((end,), (end // 2,), (end, end // 2))):
                asking.mark(link, conversation, offset)

    def _client_of(self, link: Link) -> Client:
        return next(each for each in self._world.clients if each.user == link.user)

    def _offsets(self, link: Link) -> dict[str, int]:
        """Return where conversations end, those of this user and all rooms."""
        return {
            each.name: each.last_offset
            for each in self._world.store.conversations.values()
            if each.kind == "room" or link.user in each.members
        }

    def _ask(self) -> None:
        if link := self._world.a_link():
            self._world.happened["ask"] += 1
            self._ask_something(link)

    def _ask_something(self, link: Link) -> None:
        asking = self._client_of(link).asking
        other = self._world.somebody().user
        direct = direct_conversation(link.user, other)
        conversation = self._rng.choice((*self.names, *self.names, direct))
        where: dict[str, Any] = self._rng.choice(
            ({}, {"after": 0}, {"after": self._rng.randint(0, 30)}, {"before": 20})
        )
        asks: tuple[Callable[[], None], ...] = (
            lambda: asking.ask_list(link, limit=self._rng.choice((1, 2, 100))),
            lambda: asking.ask_members(link, conversation),
            lambda: asking.ask_history(link, conversation, **where, limit=_FEW),
            lambda: asking.ask_delivery(link, self._own_ids(link)),
        )
        self._rng.choices(asks, (2, 2, 4, 1))[0]()

    def _own_ids(self, link: Link) -> tuple[str, ...]:
        """Return messages of this user, and one of somebody else."""
        own = [each.id for each in self._world.store.messages.values() if each.sender == link.user]
        others = [
            each.id for each in self._world.store.messages.values() if each.sender != link.user
        ]
        return (*own[-10:], *others[-1:])

    def ask_all(self) -> None:
        """Have everybody ask for all that there is."""
        for client in self._world.clients:
            for link in client.open_links()[:1]:
                client.asking.ask_list(link, limit=2)
                for name in self.names:
                    client.asking.ask_members(link, name)
                    client.asking.ask_history(link, name, after=0, limit=_FEW)
                    client.asking.ask_history(link, name, limit=_FEW)
                client.asking.ask_delivery(link, self._own_ids(link))

    def are_answered(self) -> bool:
        """Say whether nobody waits for an answer, or for a mark to come back."""
        return not any(each.asking.waiting or each.asking.marks for each in self._world.clients)
