"""What questions about conversations take at the store, where it holds a million messages."""

import argparse
import random
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from bench.machine import describe
from landline.adapters.postgres import PostgresMessageStore, migrate
from landline.adapters.sqlite import Database, SqliteConversations, SqliteMessageStore
from landline.config.values import SecretUrl
from landline.model import (
    Batch,
    History,
    HistoryQuery,
    ListQuery,
    LogIdentity,
    Mailbox,
    Message,
    Position,
    Receipt,
    RoomChange,
)
from landline.ports import ConversationStore, MessageStore
from landline.protocol.identity import direct_conversation, room_conversation
from landline_stack import Stack

BATCH = 1_000
TIME_MS = 1_767_323_045_000
ROOM = room_conversation("alice", "the big room")
ROOM_EVENTS = 100_000
OWN_CONVERSATIONS = 1_000
CHANGED = 50
ROUNDS = 200

# The same store each time.
chance = random.Random(1)  # noqa: S311 - nothing is secret here

Question = Callable[[], Awaitable[object]]


def message(offset: int, sender: str, to: str) -> Message:
    """Return a message that has this place. `to`: a user, or the room."""
    conversation = to if to == ROOM else direct_conversation(sender, to)
    recipients = () if to == ROOM else (to,)
    return Message(
        str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        conversation,
        sender,
        recipients,
        "x" * 100,
        Position(0, offset),
        TIME_MS + offset,
    )


def addresses(total: int) -> Iterator[tuple[str, str]]:
    """Yield senders and recipients: the room's messages lie among those of everybody else, and of
    alice's conversations fifty are newer than all of that.
    """
    for number in range(OWN_CONVERSATIONS):
        yield "alice", f"friend-{number}"
    others = total - OWN_CONVERSATIONS - ROOM_EVENTS - CHANGED
    kinds = [True] * ROOM_EVENTS + [False] * others
    chance.shuffle(kinds)
    for in_room in kinds:
        if in_room:
            yield "bob", ROOM
        else:
            yield f"user-{chance.randrange(10_000)}", f"user-{chance.randrange(10_000)}"
    for number in range(CHANGED):
        yield f"friend-{number * 7}", "alice"


def batches(total: int) -> Iterator[Batch]:
    """Yield a log: who is written to has received it at once."""
    made = Message(
        str(uuid.uuid4()), ROOM, "alice", (), "", Position(0, 0), TIME_MS, data='{"title":"Big"}'
    )
    change = RoomChange(ROOM, "Big", History.ALL, ("alice", "bob"))
    yield Batch(0, 0, 1, (made,), change=change)
    start = 1
    messages: list[Message] = []
    for sender, to in addresses(total):
        messages.append(message(start + len(messages), sender, to))
        if len(messages) == BATCH:
            yield _batch(start, messages)
            start, messages = start + 2 * BATCH, []
    if messages:
        yield _batch(start, messages)


def _batch(start: int, messages: list[Message]) -> Batch:
    receipts = tuple(
        Receipt(each.id, Mailbox(user), "2026-01-02T03:04:05.678Z", start + BATCH + number)
        for number, each in enumerate(messages)
        for user in each.recipients or ("alice",)
    )
    return Batch(0, start, start + 2 * BATCH, tuple(messages), receipts)


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[tuple[MessageStore, ConversationStore]]:
    """Open an empty file."""
    database = Database(folder / "data", lambda _why: None)
    try:
        yield SqliteMessageStore(database), SqliteConversations(database)
    finally:
        await database.close()


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[tuple[MessageStore, ConversationStore]]:
    """Start a server with an empty database."""
    with Stack(folder / "stack", kafka=False, redis=False) as stack:
        url = SecretUrl(stack.postgres_url)
        await migrate(url)
        store = PostgresMessageStore(url, "bench")
        await store.adopt(LogIdentity("cluster", "topic", 1, 0))
        await store.format.look()
        try:
            yield store, store.conversations
        finally:
            await store.close()


async def measure(store: MessageStore, conversations: ConversationStore, total: int) -> None:
    """Fill the store, and print a line per question."""
    start = time.monotonic()
    for batch in batches(total):
        await store.apply([batch])
    print(f"{total:,} messages stored in {time.monotonic() - start:.0f} s", flush=True)
    page = await conversations.history(HistoryQuery("alice", ROOM, None, None, 1))
    assert page is not None, "alice is in it"
    [newest] = page.messages
    last = newest.position.offset
    questions: dict[str, Question] = {
        "list: 50 of 1,000 conversations": lambda: conversations.list(
            ListQuery("alice", None, CHANGED)
        ),
        "list: 100 of 1,000 conversations": lambda: conversations.list(
            ListQuery("alice", None, 100)
        ),
        "list: 1, with 100,000 unread": lambda: conversations.list(
            ListQuery("alice", (TIME_MS + last + 1, ""), 1)
        ),
        "history: 50 anywhere, before": lambda: conversations.history(
            HistoryQuery("alice", ROOM, chance.randrange(last), None, 50)
        ),
        "history: 50 anywhere, after": lambda: conversations.history(
            HistoryQuery("alice", ROOM, None, chance.randrange(last), 50)
        ),
        "members: 2": lambda: conversations.members("alice", ROOM),
        "rooms: 1": lambda: conversations.rooms([ROOM]),
        "deliveries: 1": lambda: conversations.statuses("bob", [newest.id]),
    }
    for name, ask in questions.items():
        print(f"{name:<34} {await _milliseconds(ask)}", flush=True)


async def _milliseconds(ask: Question) -> str:
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        await ask()
        taken.append((time.perf_counter() - start) * 1000)
    taken.sort()
    return f"p50 {taken[ROUNDS // 2]:6.2f} ms, p99 {taken[-ROUNDS // 100]:6.2f} ms"


async def run(options: argparse.Namespace) -> None:
    """Measure one store after the other."""
    opens = {"sqlite": sqlite, "postgres": postgres}
    for name in options.store or opens:
        print(f"{name}:")
        with tempfile.TemporaryDirectory() as folder:
            async with opens[name](Path(folder)) as (store, conversations):
                await measure(store, conversations, options.messages)


def main() -> None:
    """Fill stores and ask them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--store", choices=("sqlite", "postgres"), action="append")
    options = parser.parse_args()
    print(describe())
    uvloop.run(run(options))


if __name__ == "__main__":
    main()
