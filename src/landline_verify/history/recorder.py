"""Writes the history of a run down."""

import itertools
import time
from hashlib import blake2b

from landline_verify.history.events import Event
from landline_verify.history.history import History


class Recorder:
    """Adds events to a history; knows what time it is there."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._start = time.monotonic()
        self._connections = itertools.count(1)

    def now(self) -> float:
        """Return the seconds since the run's start."""
        return round(time.monotonic() - self._start, 6)

    def record(self, event: Event) -> None:
        """Add an event that happened `now`."""
        self.history.record(event)

    def name_connection(self) -> str:
        """Return a name that no other connection of the run has."""
        return f"c{next(self._connections)}"


def digest(content: str) -> str:
    """Return what stands for a content in the history."""
    return blake2b(content.encode(), digest_size=8).hexdigest()


def digest_of_title(title: str | None) -> str:
    """Return what stands for the event that a room has this title from now on."""
    return digest("no title" if title is None else f"title {title}")


def digest_of_member(user: str, change: str, role: str) -> str:
    """Return what stands for the event that somebody is added, removed, or has another role."""
    return digest(f"{change} {user}" if change == "remove" else f"{change} {user} {role}")
