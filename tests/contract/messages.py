"""Messages and receipts for the contract of stores, and what a store makes of them."""

from collections.abc import Iterable
from typing import Any

from landline.model import (
    NOWHERE,
    Mailbox,
    Message,
    Pending,
    PendingQuery,
    Position,
    Positions,
    Receipt,
)
from landline.ports import MessageStore
from support.stores import Stores
from support.tables import Rows

TIME_MS = 1_767_323_045_678

SECONDS = 30.0  # generous: nothing here is measured

# An offset beyond everything that a test has.
FAR = 1_000_000


def uuid(number: int) -> str:
    return f"{number:08x}-0000-8000-8000-00000000c0de"


def mailbox(text: str) -> Mailbox:
    """Return that of "bob" without a device, or of "bob/phone"; "bob/" is a device too."""
    user, slash, device = text.partition("/")
    return Mailbox(user, device if slash else None)


def message(
    number: int,
    offset: int,
    *,
    partition: int = 0,
    to: Iterable[str] = ("bob",),
    content: str = "hello",
    conversation: str = "dm:alice:bob",
) -> Message:
    return Message(
        uuid(number),
        conversation,
        "alice",
        tuple(to),
        content,
        Position(partition, offset),
        TIME_MS + offset,
    )


def receipt(number: int, by: str = "bob", *, offset: int = FAR) -> Receipt:
    return Receipt(uuid(number), mailbox(by), "2026-01-02T03:04:05.678Z", offset)


async def ask(
    store: MessageStore, of: str = "bob", after: Positions = NOWHERE, limit: int = 1_000
) -> Pending:
    return (await store.pending([PendingQuery(mailbox(of), after, limit)]))[0]


async def owed(store: MessageStore, of: str = "bob") -> list[str]:
    return [each.id for each in (await ask(store, of)).messages]


async def dump(stores: Stores) -> tuple[Rows, set[tuple[Any, ...]]]:
    return await stores.tables(), await stores.statuses()


async def status(stores: Stores) -> list[tuple[str, str]]:
    """Return recipients and the status of what they are sent."""
    return sorted((user, status) for _id, user, status in await stores.statuses())
