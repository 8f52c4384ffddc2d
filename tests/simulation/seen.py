"""What a judge has seen of a connection and of a send."""

from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]
Place = tuple[str, int]  # conversation, offset


@dataclass
class Session:
    """A connection, as its client told."""

    user: str
    opened_at: float
    welcome_at: float
    is_auto: bool
    owed: set[str]
    live_at: float | None = None
    closed_at: float | None = None
    seen: dict[str, float] = field(default_factory=dict)  # id -> when
    unacked: set[str] = field(default_factory=set)
    told: set[tuple[str, str]] = field(default_factory=set)
    last_replay: dict[str, int] = field(default_factory=dict)
    last_live: dict[tuple[str, str], int] = field(default_factory=dict)

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
