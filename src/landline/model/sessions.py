"""Who has sessions, and whose sessions have to end."""

from typing import NamedTuple


class Revocation(NamedTuple):
    """Every session of `user` that is open has to end.

    `revoked_at`: milliseconds since the Unix epoch, by the store's clock, and later than that of
    any revocation before it. So it says which of two is newer, whatever the clocks say.
    `until_ms`: no new session before this time, milliseconds since the Unix epoch; None: at once.
    """

    user: str
    revoked_at: int
    until_ms: int | None


class Device(NamedTuple):
    """A device of a user, as the store knows it.

    `opened`: the partitions in which it has begun and not ended, at least one. `seen_ms`: when it
    was there last, milliseconds since the Unix epoch by the store's clock.
    """

    user: str
    name: str
    opened: frozenset[int]
    seen_ms: int


class OpenSession(NamedTuple):
    """A session, with what is known of it where it was asked.

    `opened_ms` is milliseconds since the Unix epoch. It and `address` are known of a server's own
    sessions alone; `origin` is what a browser said, which others do not.
    """

    server: str
    session: str
    opened_ms: int | None = None
    address: str | None = None
    origin: str | None = None
