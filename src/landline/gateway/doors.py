"""How many may come: connections of a user and of an address, and handshakes of an address.

An address is what `Caller.place` says. Everything is counted on this server alone.
"""

from collections import Counter
from typing import Final

from landline.config.limits import HANDSHAKES_BURST, Limits
from landline.delivery.rates import Bucket

# A connection that has not said what it wants costs a file for five seconds. An address may have
# this many times as many of them as sessions.
_SILENT_SHARE: Final = 2


class Doors:
    """Counts who is here. Empty when nobody is, and nobody was of late."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._handshakes: dict[str, Bucket] = {}
        self._strangers: dict[str, Bucket] = {}
        self._sockets: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()
        self._users: Counter[str] = Counter()

    def __len__(self) -> int:
        counts = (self._sockets, self._addresses, self._users)
        return len(self._handshakes) + len(self._strangers) + sum(len(each) for each in counts)

    # Sockets, of which nothing is known but the address ------------------------------------------

    def accept(self, place: str) -> bool:
        """A socket has come. Returns False where it has to go at once; `release` is for others."""
        most = self._limits.address_connections * (1 + _SILENT_SHARE)
        if most and self._sockets[place] >= most:
            return False
        self._sockets[place] += 1
        return True

    def release(self, place: str) -> None:
        """A socket that was accepted has gone."""
        _take_one(self._sockets, place)

    # Handshakes and sessions ---------------------------------------------------------------------

    def knock(self, place: str, now: float) -> float:
        """Count a handshake. Returns 0.0, or how many seconds it came too early."""
        return self._take(self._handshakes, place, now)

    def _take(self, buckets: dict[str, Bucket], place: str, now: float) -> float:
        rate = self._limits.handshakes
        if not rate or not place:
            return 0.0
        bucket = buckets.get(place)
        if bucket is None:
            bucket = buckets[place] = Bucket(rate, rate * HANDSHAKES_BURST, now)
        wait_seconds = bucket.seconds_until(1, now)
        if not wait_seconds:
            bucket.take(1, now)
        return wait_seconds

    def seconds_until_heard(self, place: str, now: float) -> float:
        """Return how long nobody of an address is heard, because too many who sent requests were
        strangers; mostly 0.0. It counts nothing.
        """
        bucket = self._strangers.get(place)
        return bucket.seconds_until(1, now) if bucket is not None else 0.0

    def was_stranger(self, place: str, now: float) -> None:
        """Count a request of somebody who could not say who they are."""
        self._take(self._strangers, place, now)

    def enter(self, place: str) -> bool:
        """A connection wants to stay. Returns False where its address has too many."""
        return _add_one(self._addresses, place, self._limits.address_connections)

    def leave(self, place: str) -> None:
        """A connection that was let in has gone."""
        _take_one(self._addresses, place)

    def sign_in(self, user: str) -> bool:
        """A connection is a user's now. Returns False where they have too many."""
        return _add_one(self._users, user, self._limits.user_connections)

    def sign_out(self, user: str) -> None:
        """A user's connection has gone."""
        _take_one(self._users, user)

    def forget_idle(self, now: float) -> None:
        """Forget addresses that may knock as if they never had."""
        for buckets in (self._handshakes, self._strangers):
            for place in [place for place, each in buckets.items() if each.is_full(now)]:
                del buckets[place]


def _add_one(counts: Counter[str], name: str, most: int) -> bool:
    if most and name and counts[name] >= most:
        return False
    counts[name] += 1
    return True


def _take_one(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
