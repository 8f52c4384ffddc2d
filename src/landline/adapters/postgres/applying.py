"""Which statement applies which batches in format 2."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from landline.adapters.postgres.batch_rows import APPLY, apply_arguments, device_of
from landline.adapters.postgres.rounds import columns
from landline.adapters.statements import statement
from landline.model import Batch, DeviceChange, MemberChange, MemberStep, RoomChange

APPLY_ROOM: Final = statement("postgres", "apply_room")
APPLY_MEMBER: Final = statement("postgres", "apply_member")
OPEN_DEVICES: Final = statement("postgres", "open_devices")
CLOSE_DEVICES: Final = statement("postgres", "close_devices")
FORGET_ROOM: Final = statement("postgres", "forget_room")
HAND_BACK: Final = statement("postgres", "hand_back")
# Rows of one statement of `Step.ahead`. They take a fraction of a second, and a writer has 15 s.
AHEAD_ROWS: Final = 5_000


class Step(NamedTuple):
    """A statement with its arguments. It returns the partitions that moved, of so many.

    `ahead`: what may be too much for one statement is done before, in others that are committed one
    by one and stay when a later one fails. Each takes as its last argument how many rows it may
    deal with, and returns how many it did. It is repeated until these are fewer.
    """

    sql: str
    arguments: Sequence[Any]
    partitions: int
    ahead: tuple[str, Sequence[Any]] | None = None


def steps(batches: Sequence[Batch]) -> list[Step]:
    """Return what applies a round of batches. As they are of different partitions, each of these
    statements is about others.
    """
    plain: list[Batch] = []
    begins: list[Batch] = []
    ends: list[Batch] = []
    found: list[Step] = []
    for batch in batches:
        change = batch.change
        if isinstance(change, DeviceChange):
            (begins if change.is_added else ends).append(batch)
        elif change is None:
            plain.append(batch)
        else:
            found.append(_one_change(batch, change))
    if plain:
        found.append(Step(APPLY, apply_arguments(plain), len(plain)))
    if begins:
        found.append(Step(OPEN_DEVICES, columns(_of_devices(begins), 6), len(begins)))
    if ends:
        rows = columns(_of_devices(ends), 6)
        first = (HAND_BACK, (*rows[:2], *rows[3:]))
        found.append(Step(CLOSE_DEVICES, rows, len(ends), first))
    return found


def _of_devices(batches: Sequence[Batch]) -> Sequence[tuple[Any, ...]]:
    return [
        (batch.partition, batch.start, batch.end, change.user, change.device, change.offset)
        for batch in batches
        if isinstance(change := batch.change, DeviceChange)
    ]


def _one_change(batch: Batch, change: RoomChange | MemberChange) -> Step:
    [event] = batch.messages
    facts = (
        batch.partition,
        batch.start,
        batch.end,
        event.position.offset,
        event.id,
        event.conversation,
        event.sender,
        device_of(event.device),
        event.time_ms,
        event.data,
    )
    if isinstance(change, RoomChange):
        return Step(APPLY_ROOM, (*facts, change.title, change.history, change.members), 1)
    own = (change.user, change.step, change.role)
    if change.step is not MemberStep.REMOVE:
        return Step(APPLY_MEMBER, (*facts, *own), 1)
    at = event.position.offset
    first = (batch.partition, batch.start, event.id, event.conversation, change.user, at)
    return Step(APPLY_MEMBER, (*facts, *own), 1, (FORGET_ROOM, first))
