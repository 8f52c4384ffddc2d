"""Messages and receipts for the contract of stores, and what a store makes of them."""

from collections.abc import Iterable
from typing import Any

from landline.model import NOWHERE, Message, Pending, PendingQuery, Position, Positions, Receipt
from landline.ports import MessageStore
from support.stores import Stores

TIME_MS = 1_767_323_045_678

SECONDS = 30.0  # generous: nothing here is measured

_MESSAGES = """
    SELECT CAST(message_id AS text), conversation, sender, content, log_partition, log_offset
    FROM messages ORDER BY 1
"""

_DELIVERIES = """
    SELECT CAST(message_id AS text), recipient, mailbox, status, delivered_at, log_offset
    FROM deliveries ORDER BY 1, 2
"""

_QUARANTINE = "SELECT log_partition, log_offset, value, reason FROM quarantine ORDER BY 1, 2"


def uuid(number: int) -> str:
    return f"{number:08x}-0000-8000-8000-00000000c0de"


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


def receipt(number: int, by: str = "bob", at: str = "2026-01-02T03:04:05.678Z") -> Receipt:
    return Receipt(uuid(number), by, at)


async def ask(
    store: MessageStore, mailbox: str = "bob", after: Positions = NOWHERE, limit: int = 1_000
) -> Pending:
    return (await store.pending([PendingQuery(mailbox, after, limit)]))[0]


async def owed(store: MessageStore, mailbox: str = "bob") -> list[str]:
    return [each.id for each in (await ask(store, mailbox)).messages]


async def dump(stores: Stores) -> list[list[tuple[Any, ...]]]:
    return [await stores.rows(sql) for sql in (_MESSAGES, _DELIVERIES, _QUARANTINE)]


async def status(stores: Stores) -> list[tuple[Any, ...]]:
    return await stores.rows(
        "SELECT recipient, status, delivered_at FROM deliveries ORDER BY recipient"
    )
