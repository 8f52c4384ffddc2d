"""Taking old messages out of the store, a few at a time."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from landline.adapters.statements import statement
from landline.model import Position, Positions

PURGE: Final = statement("postgres", "purge")


async def purge(
    run: Callable[..., Awaitable[list[Any]]],
    partitions: Positions,
    before_ms: int,
    after: Position,
    limit: int,
) -> tuple[int, Position | None]:
    """See `PostgresMessageStore.purge`. `run` returns the rows of a statement."""
    partition, offset = after
    if partition not in partitions:
        return 0, _next(partitions, partition)
    [(count, last, are_old)] = await run(PURGE, partition, offset, before_ms, limit)
    # Within a partition what follows is younger still.
    return count, Position(partition, last) if are_old else _next(partitions, partition)


def _next(partitions: Positions, behind: int) -> Position | None:
    following = min((each for each in partitions if each > behind), default=None)
    return None if following is None else Position(following, -1)
