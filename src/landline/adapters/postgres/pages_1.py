"""Makes the arguments of `pending_1`, and answers out of its rows: format 1, in `deliveries`.

Nobody takes turns there: the rows of older servers may have no conversation.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from landline.adapters.postgres.pages import Row, in_order_of_log, vectors
from landline.adapters.statements import statement
from landline.model import EventKind, Pending, PendingQuery

PENDING_1: Final = statement("postgres", "pending_1")
_WHAT_ALL_ARE: Final = (EventKind.MESSAGE, None, 0, False)


def pending_arguments_1(queries: Sequence[PendingQuery]) -> Sequence[Any]:
    """Return what `PENDING_1` takes."""
    return (
        [query.mailbox.user for query in queries],
        [query.limit for query in queries],
        *vectors(queries),
        [query.limit_bytes for query in queries],
    )


def pending_answers_1(queries: Sequence[PendingQuery], rows: Iterable[Row]) -> list[Pending]:
    """Return the answers in the rows of `PENDING_1`."""
    applied: dict[int, int] = {}
    found: list[list[Row]] = [[] for _ in queries]
    for number, *fields in rows:
        if number < 0:
            applied[fields[0]] = fields[1]
        else:
            found[number].append((*fields, *_WHAT_ALL_ARE))
    return [
        in_order_of_log(query, page, applied) for query, page in zip(queries, found, strict=True)
    ]
