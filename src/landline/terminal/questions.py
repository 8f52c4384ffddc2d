"""What a terminal asks about conversations, and the answers as lines."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import datetime

from landline.client import (
    Chat,
    ClientError,
    Conversation,
    MemberChanged,
    Message,
    RoomChanged,
)
from landline.protocol.identity import direct_conversation, is_room
from landline.terminal.rooms import RoomNames, what_happened
from landline.terminal.screen import Marks, harmless, time_of_day

HISTORY_LINES = 20
# The server counts no further.
_UNREAD_MOST = 100
# Conversations of which it is remembered how far they were shown.
REMEMBERED_CONVERSATIONS = 1_000


class NotFound(ClientError):
    """There is no such room, or more than one: `str(error)` is a sentence for people."""


class Questions:
    """Asks for one chat. Each raises ClientError where there is no answer for this user."""

    def __init__(self, rooms: RoomNames, marks: Marks) -> None:
        self._rooms = rooms
        self._marks = marks
        self._shown: OrderedDict[str, int] = OrderedDict()  # the last offset, by conversation
        self._page: tuple[str, int] | None = None  # the last one of history: where it begins

    def was_shown(self, conversation: str, offset: int) -> None:
        """Note an event that is on the screen."""
        self._shown[conversation] = max(offset, self._shown.get(conversation, 0))
        self._shown.move_to_end(conversation)
        if len(self._shown) > REMEMBERED_CONVERSATIONS:
            self._shown.popitem(last=False)

    async def rooms(self, chat: Chat) -> list[str]:
        """Return a line for each room of the user."""
        found = [each async for each in _rooms_of(chat)]
        if not found:
            return ["-- you are in no room"]
        return [self._room_line(each) for each in found]

    async def find_room(self, chat: Chat, name: str) -> str:
        """Return the room of this title or id, or of one that begins so."""
        if is_room(name):
            return name
        found = [each async for each in _rooms_of(chat)]
        for each in found:
            self._rooms.learn(each.conversation, each.title)
        called = [each for each in found if each.title == name] or [
            each for each in found if each.conversation.removeprefix("room:").startswith(name)
        ]
        if not called:
            raise NotFound("you are in no room of this title or id; /rooms lists them")
        if len(called) > 1:
            raise NotFound("several of your rooms are called so; give the beginning of its id")
        return called[0].conversation

    async def members(self, chat: Chat, partner: str) -> list[str]:
        """Return a line for each member of the conversation with this partner."""
        members = await chat.members(_conversation(chat, partner))
        return [
            f"-- {harmless(each.user)}{', admin' * (each.role == 'admin')}"
            for each in sorted(members, key=lambda member: member.user)
        ]

    async def history(self, chat: Chat, partner: str) -> list[str]:
        """Return the last lines of a conversation, and those before them when asked again."""
        conversation = _conversation(chat, partner)
        before = None
        if self._page is not None and self._page[0] == conversation:
            before = self._page[1]
        page = await chat.history(conversation, before=before, limit=HISTORY_LINES)
        lines = [self.line(each) for each in page.messages]
        if page.complete:
            self._page = None
            lines.insert(0, "-- this is the beginning")
        else:
            self._page = conversation, page.first
            lines.append("-- /history shows what came before")
        if page.messages:
            self.was_shown(conversation, page.messages[-1].offset)
        return lines

    async def read(self, chat: Chat, partner: str) -> list[str]:
        """Say that the user has seen what was shown of a conversation."""
        conversation = _conversation(chat, partner)
        offset = self._shown.get(conversation)
        if offset is None:
            raise NotFound("nothing of it was shown yet; /history shows what there is")
        await chat.read(conversation, offset)
        return ["-- read"]

    def line(self, event: Message | MemberChanged | RoomChanged) -> str:
        """Return an event of a conversation as a line."""
        time = time_of_day(event.time, datetime.now().astimezone().date())
        when = f"[{time} earlier]" if event.replay else f"[{time}]"
        if not isinstance(event, Message):
            room = self._rooms.note(event)
            return f"-- {when} {harmless(f'{room}: {what_happened(event)}')}"
        content = harmless(event.content)
        if is_room(event.conversation):
            room = harmless(self._rooms.shown(event.conversation))
            if event.is_own:
                return f"{self._marks.accepted} {when} {room}: {content}"
            return f"{when} {room}: {harmless(event.sender)}: {content}"
        if event.is_own and event.to != event.sender:
            return f"{self._marks.accepted} {when} to {harmless(event.to)}: {content}"
        return f"{when} {harmless(event.sender)}: {content}"

    def _room_line(self, room: Conversation) -> str:
        self._rooms.learn(room.conversation, room.title)
        count = f"{room.unread} or more" if room.unread >= _UNREAD_MOST else str(room.unread)
        role = ", admin" if room.role == "admin" else ""
        shown = self._rooms.shown(room.conversation)
        return f"-- {harmless(shown)}: {count} unread{role}, {room.conversation}"


async def _rooms_of(chat: Chat) -> AsyncIterator[Conversation]:
    after = None
    while True:
        page = await chat.conversations(after=after)
        for each in page.items:
            if each.kind == "room":
                yield each
        if (after := page.next) is None:
            return


def _conversation(chat: Chat, partner: str) -> str:
    if is_room(partner):
        return partner
    assert chat.username is not None, "a terminal chats under a name"
    return direct_conversation(chat.username, partner)
