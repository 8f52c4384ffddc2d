"""What log and store say of each message, id by id, and how they differ."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from landline.audit.comparison import Difference, Horizon, Kind, place
from landline.audit.spool import Spool
from landline.model import Position

_SCHEMA = """
    -- Where each message stands: its one place. The log may hold it elsewhere too, as a repeat.
    CREATE TABLE place (
        id TEXT PRIMARY KEY, partition INTEGER, offset INTEGER
    ) WITHOUT ROWID;
    -- Messages of which nobody knows whether the log has their first record.
    CREATE TABLE doubt (id TEXT PRIMARY KEY) WITHOUT ROWID;
    -- Places of messages of which it is said already that they are missing, unknown or moved; or
    -- of which nothing can be said.
    CREATE TABLE told (
        partition INTEGER, offset INTEGER, PRIMARY KEY (partition, offset)
    ) WITHOUT ROWID;
"""
_LOGGED = """
    SELECT id, sender, conversation, kind, digest, details, time_ms, partition, offset
    FROM record WHERE id IS NOT NULL ORDER BY id, partition, offset
"""
_STORED = """
    SELECT id, sender, conversation, kind, digest, details, time_ms, partition, offset
    FROM stored_message ORDER BY id
"""
_ADD_PLACE = "INSERT INTO place VALUES (?, ?, ?)"
_ADD_TOLD = "INSERT OR IGNORE INTO told VALUES (?, ?)"


class _Event(NamedTuple):
    """An event as a record or a row has it. Its content is known by its digest only."""

    id: str
    sender: str
    conversation: str
    kind: str
    digest: bytes
    details: bytes | None
    time_ms: int
    position: Position


def compare_messages(spool: Spool, horizon: Horizon) -> Iterator[Difference]:
    """Yield how log and store differ about each message, and enter in `place` where it stands."""
    spool.script(_SCHEMA)
    for id, logged, stored in _cases(spool):
        first = _first(logged)
        standing = _standing(logged, stored, horizon)
        spool.file.execute(_ADD_PLACE, (id, *standing.position))
        found = list(_compare(first, standing, stored, horizon))
        yield from found
        if first is not None and _is_doubtful(first, standing, stored, horizon):
            spool.file.execute("INSERT INTO doubt VALUES (?)", (id,))
            spool.file.execute(_ADD_TOLD, first.position)
        if any(each.kind is not Kind.MESSAGE_CHANGED for each in found):
            for event in (*logged, *([stored] if stored else ())):
                spool.file.execute(_ADD_TOLD, event.position)


def _cases(spool: Spool) -> Iterator[tuple[str, Sequence[_Event], _Event | None]]:
    """Yield, of every id that occurs anywhere, its first record of each partition, and its row."""
    logged = groupby(map(_event, spool.rows(_LOGGED)), key=lambda event: event.id)
    stored = map(_event, spool.rows(_STORED))
    one, other = next(logged, None), next(stored, None)
    while one is not None or other is not None:
        ids = [each for each in (one and one[0], other and other.id) if each is not None]
        id = min(ids)
        firsts: list[_Event] = []
        if one is not None and one[0] == id:
            by_partition = groupby(one[1], key=lambda event: event.position.partition)
            firsts = [next(events) for _partition, events in by_partition]
            one = next(logged, None)
        row = None
        if other is not None and other.id == id:
            row, other = other, next(stored, None)
        yield id, firsts, row


def _event(row: Sequence[Any]) -> _Event:
    *facts, partition, offset = row
    return _Event._make((*facts, Position(partition, offset)))


def _first(logged: Sequence[_Event]) -> _Event | None:
    """Return the first of the records: that of the lowest offset, which has the epoch in it."""
    return min(logged, key=lambda event: event.position[::-1], default=None)


def _standing(logged: Sequence[_Event], stored: _Event | None, horizon: Horizon) -> _Event:
    """Return the record or the row that has the message's place.

    Which partition was applied first nobody knows afterwards. So the row may have the place of the
    first record of any partition. Where it has another one, the log is right, unless it does not
    reach back so far.
    """
    first = _first(logged)
    if stored is None:
        assert first is not None, "it is somewhere"
        return first
    if first is None:
        return stored
    for event in logged:
        if event.position == stored.position:
            return event
    return stored if _is_older(stored, first, horizon) else first


def _is_older(stored: _Event, first: _Event, horizon: Horizon) -> bool:
    """Say whether the row has the place of a record that the log does not hold any more."""
    is_earlier = stored.position[::-1] < first.position[::-1]
    if is_earlier and not horizon.is_within(stored.position):
        return True
    # It was deleted when everybody had it, and then it was repeated.
    return horizon.may_be_purged(first.position)


def _is_doubtful(first: _Event, standing: _Event, stored: _Event | None, horizon: Horizon) -> bool:
    if stored is None:
        return horizon.is_doubtful(first.position)
    # It was purged and then repeated: what the first record did is not known.
    return standing is stored and horizon.is_within(stored.position)


def _compare(
    first: _Event | None, standing: _Event, stored: _Event | None, horizon: Horizon
) -> Iterator[Difference]:
    if stored is None:
        assert first is not None, "it is somewhere"
        if not horizon.may_be_purged(first.position):
            is_doubtful = horizon.is_doubtful(first.position)
            unless = ", unless it repeats one that was purged" if is_doubtful else ""
            yield Difference(
                Kind.MESSAGE_MISSING,
                f"message {first.id} from {first.sender} at {place(first.position)}"
                f" was accepted and is not stored{unless}",
            )
        return
    at = place(stored.position)
    if first is None:
        if horizon.is_within(stored.position):
            yield Difference(
                Kind.MESSAGE_UNKNOWN,
                f"message {stored.id} from {stored.sender} is stored at {at},"
                " where the log does not have it",
            )
        return
    if standing.position != stored.position:
        yield Difference(
            Kind.MESSAGE_MOVED,
            f"message {stored.id} is stored at {at},"
            f" its first record is at {place(first.position)}",
        )
    record = first if standing is stored else standing
    if changed := [*_changed(record, stored)]:
        yield Difference(
            Kind.MESSAGE_CHANGED, f"message {stored.id} at {at} differs in {', '.join(changed)}"
        )


def _changed(logged: _Event, stored: _Event) -> Iterator[str]:
    if stored.sender != logged.sender:
        yield f"sender ({stored.sender}, in the log {logged.sender})"
    if stored.conversation != logged.conversation:
        yield f"conversation ({stored.conversation}, in the log {logged.conversation})"
    if stored.kind != logged.kind:
        yield f"kind ({stored.kind}, in the log {logged.kind})"
    if stored.digest != logged.digest:
        yield "content"
    if stored.details != logged.details:
        yield "data"
    if stored.position == logged.position and stored.time_ms != logged.time_ms:
        yield "time"
