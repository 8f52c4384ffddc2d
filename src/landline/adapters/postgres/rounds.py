"""Which batches can be applied in one statement, and which only after others."""

from collections.abc import Callable, Collection, Sequence

from landline.model import Batch


def rounds(batches: Sequence[Batch], keys: Callable[[Batch], Collection[str]]) -> list[list[Batch]]:
    """Return the batches in rounds, to be applied one after the other: in a round there is one of
    each partition at the most, and no key is in two of them.

    `keys`: the messages that a batch is about. Nearly always only the partition decides: all that
    concerns a message is in one, whatever else a log may hold.
    """
    found: list[list[Batch]] = []
    last: dict[int | str, int] = {}  # partition or key -> the last round that has it
    for batch in batches:
        own: list[int | str] = [batch.partition, *keys(batch)]
        number = 1 + max(last.get(each, -1) for each in own)
        last.update(dict.fromkeys(own, number))
        if number == len(found):
            found.append([])
        found[number].append(batch)
    return found


def columns(rows: Sequence[tuple[object, ...]], width: int) -> Sequence[Sequence[object]]:
    """Return the columns of rows: the arguments of `unnest`."""
    return list(zip(*rows, strict=True)) if rows else [()] * width


def storable(reason: str) -> str:
    """Return text that can be stored for certain: else the quarantine itself would be refused."""
    return reason.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
