"""What a chat can do with rooms, and what it can be asked about conversations."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from landline.client.conversations import Answer, Conversations, Delivery, History, Member
from landline.client.errors import ClientError
from landline.client.events import Acceptance

_Kind = TypeVar("_Kind")


class RoomsAndReading(ABC):
    """The part of a chat that is about conversations.

    The requests for rooms are kept and repeated like sends. They return once they are durable,
    however long that takes, go on being sent when the caller stops waiting, and raise what `send`
    raises; NoSuchConversation and RoomFull are MessageRejected.

    The questions change nothing. They wait through reconnects until there is an answer, and raise
    NoSuchConversation, QuestionRefused, Refused and ChatClosed.
    """

    # Rooms -----------------------------------------------------------------------------------

    async def create_room(
        self, title: str | None = None, members: Iterable[str] = (), history: str = "all"
    ) -> Acceptance:
        """Make a room with these members beside this user, who is its admin. The `conversation` of
        what it returns is the room.

        `history`: what members may read of it, `all` or only what came while they were in it,
        `joined`.
        """
        if isinstance(members, str):
            raise TypeError("`members` must be several names, not a str")
        change = {"type": "create", "title": title, "members": [*members], "history": history}
        return await self._change("", change)

    async def add(self, room: str, user: str) -> Acceptance:
        """Add somebody to a room. For its admins."""
        return await self._change_member(room, user, change="add")

    async def remove(self, room: str, user: str) -> Acceptance:
        """Remove somebody from a room. For its admins; everybody may remove themselves."""
        return await self._change_member(room, user, change="remove")

    async def set_role(self, room: str, user: str, role: str) -> Acceptance:
        """Make a member of a room an `admin`, or a plain `member`. For its admins."""
        return await self._change_member(room, user, change="role", role=role)

    async def set_title(self, room: str, title: str | None) -> Acceptance:
        """Give a room another title; None: none. For its admins."""
        return await self._change(room, {"type": "room", "conversation": room, "title": title})

    async def _change_member(self, room: str, user: str, **fields: str) -> Acceptance:
        change = {"type": "member", "conversation": room, "user": user, **fields}
        return await self._change(room, change)

    @abstractmethod
    async def _change(self, room: str, change: Mapping[str, Any]) -> Acceptance:
        """Send a request for a room, empty if it is to be made."""

    # Reading ---------------------------------------------------------------------------------

    async def conversations(self, after: str | None = None, limit: int = 100) -> Conversations:
        """Return a page of this user's conversations, the newest first. `after`: the `next` of the
        page before.
        """
        return _expected(Conversations, await self._ask("list", after=after, limit=limit))

    async def history(
        self,
        conversation: str,
        before: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> History:
        """Return a page of a conversation: the newest events before an offset, or the oldest after
        one, without it; the newest of all if neither is given.
        """
        answer = await self._ask(
            "history", conversation=conversation, before=before, after=after, limit=limit
        )
        return _expected(History, answer)

    async def members(self, conversation: str) -> tuple[Member, ...]:
        """Return who is in a conversation, and how far they have read it."""
        return _all_expected(Member, await self._ask("members", conversation=conversation))

    async def deliveries(self, ids: Iterable[str]) -> tuple[Delivery, ...]:
        """Return who has received these messages of this user, 50 at most."""
        return _all_expected(Delivery, await self._ask("delivery", ids=[*ids]))

    @abstractmethod
    async def read(self, conversation: str, offset: int) -> None:
        """Say that the person has seen everything of a conversation up to `offset`. Returns when
        that is durable. Until then it is in memory alone, and is repeated.
        """

    @abstractmethod
    async def _ask(self, kind: str, **fields: object) -> Answer:
        """Ask the server."""


def _expected(kind: type[_Kind], answer: object) -> _Kind:
    if not isinstance(answer, kind):
        raise ClientError("the server has answered another question than the one it was asked")
    return answer


def _all_expected(kind: type[_Kind], answer: object) -> tuple[_Kind, ...]:
    return tuple(_expected(kind, each) for each in _expected(tuple, answer))
