"""What a judge has seen of a connection and of a send."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]
Place = tuple[str, int]  # conversation, offset
Mailbox = tuple[str, str | None]  # user, device


@dataclass
class Session:
    """A connection, as its client told."""

    user: str
    device: str | None
    opened_at: float
    welcome_at: float
    is_auto: bool
    owed: set[str]
    owed_since: float = 0.0  # what was sent before may be another mailbox's
    live_at: float | None = None
    closed_at: float | None = None
    seen: dict[str, float] = field(default_factory=dict)  # id -> when
    replayed: set[str] = field(default_factory=set)
    unacked: set[str] = field(default_factory=set)
    told: set[tuple[str, str]] = field(default_factory=set)
    last_replay: dict[str, int] = field(default_factory=dict)
    last_live: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def mailbox(self) -> Mailbox:
        """Return whose it is: sessions without a device share one."""
        return self.user, self.device

    def stays(self, since: float, until: float) -> bool:
        """Say whether the connection is there all the while."""
        return self.welcome_at <= since and (self.closed_at is None or self.closed_at > until)


@dataclass
class Send:
    """A send by (user, ref)."""

    user: str
    to: str
    digest: str
    first_at: float
    tries: int = 0
    sessions: list[str] = field(default_factory=list)
    is_rejected: bool = False
    id: str | None = None
    ok_at: float | None = None
    anew_at: float | None = None  # sent as a first try again: each one before was rejected

    @property
    def said(self) -> tuple[str, str, str]:
        """Return sender, recipient and digest: what a record says of it."""
        return self.user, self.to, self.digest

    def tried(self, at: float, session: str, *, is_repeat: bool) -> None:
        """It is sent."""
        if self.is_rejected and not is_repeat:
            self.is_rejected, self.tries = False, 0
            self.first_at = self.anew_at = at
        self.tries += 1 + is_repeat
        self.sessions.append(session)


class Devices:
    """The devices in the log: from where to where each is open in a partition."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, int], list[Event]] = {}

    def note(self, record: Event) -> None:
        """Take a record, in the order of its partition."""
        self._records.setdefault((record["user"], record["partition"]), []).append(record)

    def ends(self) -> Iterator[Event]:
        """Yield the records that end a device."""
        for records in self._records.values():
            yield from (each for each in records if not each["is_added"])

    def open_at(self, user: str, record: Event) -> frozenset[str]:
        """Return the devices of a user that are open where a record stands."""
        opened: set[str] = set()
        for each in self._of(user, record):
            if each["offset"] < record["offset"]:
                (opened.add if each["is_added"] else opened.discard)(each["device"])
        return frozenset(opened)

    def ends_after(self, user: str, device: str, record: Event) -> bool:
        """Say whether a device ends behind a record."""
        return any(
            each["device"] == device and not each["is_added"] and each["offset"] > record["offset"]
            for each in self._of(user, record)
        )

    def has_end(self, user: str, record: Event) -> bool:
        """Say whether any device of a user ends behind a record: another may get what it had."""
        return any(
            not each["is_added"] and each["offset"] > record["offset"]
            for each in self._of(user, record)
        )

    def _of(self, user: str, record: Event) -> list[Event]:
        return self._records.get((user, record["partition"]), [])


def devices_session(mailbox: Mailbox) -> Mailbox:
    """Return how a session of this mailbox calls it: that with the empty name has no device."""
    user, device = mailbox
    return user, device or None
