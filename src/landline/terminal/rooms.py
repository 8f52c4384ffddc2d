"""Rooms as a terminal names them, and what happens in them as a line."""

from landline.client import MemberChanged, RoomChanged
from landline.protocol.identity import is_room

# Titles that are remembered; of other rooms the id is shown.
REMEMBERED_TITLES = 1_000
_ID_CHARACTERS = 8


class RoomNames:
    """The titles of rooms, as far as this terminal has heard of them."""

    def __init__(self) -> None:
        self._titles: dict[str, str] = {}

    def note(self, event: MemberChanged | RoomChanged) -> str:
        """Note an event. Returns the room as it is shown from now on."""
        if isinstance(event, RoomChanged):
            self.learn(event.conversation, event.title)
        return self.shown(event.conversation)

    def learn(self, room: str, title: str | None) -> None:
        """Note what a room is called now."""
        self._titles.pop(room, None)
        if title is not None:
            self._titles[room] = title
        if len(self._titles) > REMEMBERED_TITLES:
            del self._titles[next(iter(self._titles))]

    def shown(self, room: str) -> str:
        """Return the room as it is shown: its title, or the beginning of its id."""
        id = room.removeprefix("room:")
        return f"room {self._titles.get(room, id[:_ID_CHARACTERS] if is_room(room) else id)}"


def what_happened(event: MemberChanged | RoomChanged) -> str:
    """Return an event as a sentence without its end."""
    if isinstance(event, RoomChanged):
        if event.title is None:
            return f"{event.sender} took the title away, if there was one"
        return f"{event.sender} called it {event.title}"
    sender, user = event.sender, event.user
    match event.change:
        case "add":
            return f"{sender} added {user}"
        case "remove" if sender == user:
            return f"{sender} left"
        case "remove":
            return f"{sender} removed {user}"
        case "role" if event.role == "admin":
            return f"{sender} made {user} an admin"
        case _:
            return f"{sender} made {user} a member"
