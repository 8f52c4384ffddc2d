"""Old messages go, a few at a time, and nobody loses what they are owed."""

from collections.abc import AsyncIterator

import pytest

from landline.adapters.postgres import PostgresMessageStore, go_over, migrate
from landline.config.values import SecretUrl
from landline.model import (
    Batch,
    DeviceChange,
    EventKind,
    History,
    LogIdentity,
    Mailbox,
    MemberChange,
    MemberStep,
    Message,
    PendingQuery,
    Position,
    Receipt,
    Role,
    RoomChange,
)
from support.postgres import execute, fetch
from support.version_before import make_before

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("patient_postgres")]

BEGIN = Position(0, -1)
ROOM = "room:00000001-0000-8000-8000-0000000000aa"
LEFT = "SELECT log_partition, log_offset FROM messages ORDER BY 1, 2"
PURGED = "SELECT log_partition, before_offset FROM purged ORDER BY 1"


def message(
    partition: int,
    offset: int,
    *,
    conversation: str = "dm:alice:bob",
    to: tuple[str, ...] = ("bob",),
) -> Message:
    """Return a message that was sent so many milliseconds after the epoch as its offset says."""
    id = f"{partition * 1_000 + offset:08x}-0000-8000-8000-00000000c0de"
    place = Position(partition, offset)
    return Message(id, conversation, "alice", to, "x", place, offset)


def receipt(of: Message, mailbox: Mailbox, offset: int) -> Receipt:
    return Receipt(of.id, mailbox, "2026", offset)


async def purge_all(store: PostgresMessageStore, before_ms: int, limit: int) -> int:
    """Return how many messages were deleted."""
    after: Position | None = BEGIN
    count = 0
    while after is not None:
        deleted, after = await store.purge(before_ms, after, limit)
        assert deleted <= limit
        count += deleted
    return count


@pytest.fixture
async def store(database: SecretUrl) -> AsyncIterator[PostgresMessageStore]:
    await migrate(database)
    store = PostgresMessageStore(database, "ws-1")
    await store.adopt(LogIdentity("cluster", "topic", 3))
    yield store
    await store.close()


async def test_old_messages_go_unless_somebody_is_owed_them(
    store: PostgresMessageStore, database: SecretUrl
) -> None:
    sent = [message(0, offset) for offset in range(20)]
    received = tuple(receipt(each, Mailbox("bob"), 20) for each in sent if each.time_ms % 4)
    other = [message(2, offset, conversation="dm:alice:carol", to=("carol",)) for offset in (3, 30)]
    both = tuple(receipt(each, Mailbox("carol"), 40) for each in other)
    assert await store.apply([Batch(0, 0, 21, tuple(sent), received)])
    assert await store.apply([Batch(2, 0, 41, tuple(other), both)])
    assert await store.purge(14, BEGIN, 5) == (3, Position(0, 4))
    assert await store.purge(14, Position(0, 12), 5) == (1, Position(1, -1))  # the rest is younger
    assert await purge_all(store, 14, 5) == 7
    assert await fetch(database.reveal(), LEFT) == [
        *((0, offset) for offset in range(20) if offset % 4 == 0 or offset >= 14),
        (2, 30),
    ]
    assert await fetch(database.reveal(), PURGED) == [(0, 14), (2, 4)]
    [page] = await store.pending([PendingQuery(Mailbox("bob"), {}, 100)])
    assert [each.position.offset for each in page.messages] == [0, 4, 8, 12, 16]
    assert await purge_all(store, 14, 5) == 0
    late = tuple(receipt(each, Mailbox("bob"), 21) for each in sent[:9])
    assert await store.apply([Batch(0, 21, 22, (), late)])
    assert await purge_all(store, 14, 100) == 3
    assert await fetch(database.reveal(), PURGED) == [(0, 14), (2, 4)]  # it never goes back


async def test_each_device_and_each_member_counts(
    store: PostgresMessageStore, database: SecretUrl
) -> None:
    phone = Mailbox("bob", "phone")
    made = message(1, 0, conversation=ROOM, to=())
    room = RoomChange(ROOM, None, History.ALL, ("alice", "bob", "carol"))
    event = Message(
        made.id, ROOM, "alice", (), "", made.position, made.time_ms, EventKind.ROOM, "{}"
    )
    begins = [DeviceChange("bob", device, True, 1 + n) for n, device in enumerate(("phone", "tab"))]
    said = message(1, 3, conversation=ROOM, to=())
    assert await store.apply(
        [
            Batch(1, 0, 1, (event,), change=room),
            *(Batch(1, each.offset, each.offset + 1, change=each) for each in begins),
            Batch(1, 3, 4, (said,)),
        ]
    )
    owed = [(event, Mailbox("bob")), (event, Mailbox("carol")), (said, Mailbox("carol"))]
    owed += [(said, phone), (said, Mailbox("bob", "tab"))]
    for number, (each, mailbox) in enumerate(owed):
        assert await purge_all(store, 1_000, 10) == (1 if number == 2 else 0)
        end = 4 + number
        assert await store.apply([Batch(1, end, end + 1, (), (receipt(each, mailbox, end),))])
    assert await purge_all(store, 1_000, 10) == 1
    assert await fetch(database.reveal(), LEFT) == []


async def test_what_is_missing_below_what_was_purged_comes_back_if_it_is_owed(
    store: PostgresMessageStore, database: SecretUrl
) -> None:
    """As docs/failures.md advises: the message is deleted, a row of what is owed is left."""
    at = [Position(0, offset) for offset in range(4)]
    ids = [message(*each).id for each in at]
    make = RoomChange(ROOM, None, History.ALL, ("alice", "bob"))
    add = MemberChange(ROOM, "carol", MemberStep.ADD, Role.MEMBER)
    made = Message(ids[0], ROOM, "alice", (), "", at[0], 0, EventKind.ROOM, "{}")
    added = Message(ids[1], ROOM, "alice", (), "", at[1], 1, EventKind.MEMBER, "{}")
    said = (message(0, 2), message(0, 3))
    batches = [
        Batch(0, 0, 1, (made,), change=make),
        Batch(0, 1, 2, (added,), change=add),
        Batch(0, 2, 5, said, (receipt(said[1], Mailbox("bob"), 4),)),
    ]
    assert await store.apply(batches)
    assert await purge_all(store, 1_000, 10) == 1
    rows = "SELECT * FROM pending ORDER BY mailbox_id, log_offset"
    owed = await fetch(database.reveal(), rows)
    await execute(database.reveal(), "DELETE FROM messages; UPDATE applied SET next_offset = 0")
    assert await store.apply(batches)
    assert await fetch(database.reveal(), LEFT) == at[:3]
    # What is missing of a room is owed to those who are members now.
    assert set(owed) <= set(await fetch(database.reveal(), rows))
    assert await fetch(database.reveal(), PURGED) == [(0, 4)]


async def test_in_format_1_everything_is_kept(database: SecretUrl) -> None:
    await make_before(database, 1)
    await migrate(database)
    store = PostgresMessageStore(database, "ws-1")
    sent = message(0, 0)
    assert await store.apply([Batch(0, 0, 1, (sent,), (receipt(sent, Mailbox("bob"), 1),))])
    assert await store.purge(1_000, BEGIN, 10) == (0, None)
    assert await go_over(database, Silent())
    assert await store.purge(1_000, BEGIN, 10) == (1, Position(0, 0))
    await store.close()


class Silent:
    def tell(self, line: str) -> None:
        pass

    def progress(self, text: str) -> None:
        pass
