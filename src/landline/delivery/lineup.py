"""Messages of a conversation leave in the order of the log, although some must be confirmed first.

A message whose position the store has to confirm takes its place in the line-up of its
conversation. What the log acknowledges meanwhile is accepted at once, and pushed behind it.
"""

from collections import deque
from dataclasses import dataclass

from landline.model import Message

# What one conversation may have waiting. Beyond that a message is not pushed from here: it is
# pending, and the sweep finds it.
LINED_UP_MESSAGES = 1_000


@dataclass(slots=True, eq=False)
class Place:
    """A message's place. `is_settled`: it is known what leaves from here, if anything."""

    conversation: str
    message: Message | None = None
    is_settled: bool = False


class LineUps:
    """The conversations in which a message is being confirmed."""

    def __init__(self) -> None:
        self._places: dict[str, deque[Place]] = {}

    def take_place(self, conversation: str) -> Place:
        """Take the next place, for a message that is going to be confirmed."""
        place = Place(conversation)
        self._places.setdefault(conversation, deque()).append(place)
        return place

    def arrive(self, message: Message) -> list[Message]:
        """Return what may leave now: this message, unless it has to wait for one before it."""
        places = self._places.get(message.conversation)
        if places is None:
            return [message]
        if len(places) < LINED_UP_MESSAGES:
            places.append(Place(message.conversation, message, is_settled=True))
        return []

    def settle(self, place: Place, message: Message | None) -> list[Message]:
        """Say what leaves from a place, if anything; return all that may leave now, in order."""
        place.message, place.is_settled = message, True
        places = self._places[place.conversation]
        leaving: list[Message] = []
        while places and places[0].is_settled:
            first = places.popleft()
            if first.message is not None:
                leaving.append(first.message)
        if not places:
            del self._places[place.conversation]
        return leaving
