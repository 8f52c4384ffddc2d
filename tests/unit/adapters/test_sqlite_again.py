"""A part of the log that is applied again changes nothing, and brings back what was missing.

`UPDATE applied`, set back, is what docs/failures.md advises where the store lacks something.
"""

import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from landline.adapters.sqlite.applying import apply_batch
from landline.adapters.sqlite.opening import FILE_NAME, open_writer
from landline.adapters.sqlite.purging import purge_messages
from landline.model import (
    Batch,
    DeviceChange,
    Entry,
    EventKind,
    History,
    Mailbox,
    MemberChange,
    MemberStep,
    Message,
    Position,
    Receipt,
    Role,
    RoomChange,
    Stretch,
)
from landline.protocol.fold import fold
from support.events import random_logs

TABLES = (
    "messages", "conversations", "members", "former_members", "devices", "pending", "quarantine",
    "purged", "applied",
)  # fmt: skip
ROOM = "room:00000001-0000-8000-8000-0000000000aa"
OLD_MS, NEW_MS = 1_000, 9_000

Tables = dict[str, list[tuple[object, ...]]]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_writer(tmp_path / FILE_NAME, "rwc")
    connection.execute("BEGIN")
    yield connection
    connection.close()


def tables(connection: sqlite3.Connection) -> Tables:
    """Return every row, with all that it has."""
    return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in TABLES}


def apply(connection: sqlite3.Connection, batches: Sequence[Batch]) -> None:
    assert all(apply_batch(connection, each) for each in batches)


def set_back(connection: sqlite3.Connection, offset: int) -> None:
    connection.execute("UPDATE applied SET next_offset = ?", (offset,))


def said(offset: int, *, time_ms: int = NEW_MS) -> Message:
    return Message(
        f"m{offset}", "dm:alice:bob", "alice", ("bob",), "x", Position(0, offset), time_ms
    )


def received(offset: int, at: int) -> Receipt:
    return Receipt(f"m{offset}", Mailbox("bob"), "2026", at)


def stretch(log: Sequence[Entry], start: int, end: int) -> Stretch:
    return Stretch(0, start, end, tuple(each for each in log if each.position.offset >= start))


@pytest.mark.parametrize("seed", range(5))
def test_wherever_the_position_is_set_back_to(connection: sqlite3.Connection, seed: int) -> None:
    [log] = random_logs(random.Random(seed), records=60).values()
    end = log[-1].position.offset + 1
    apply(connection, fold(stretch(log, 0, end)))
    before = tables(connection)
    for start in range(end):
        set_back(connection, start)
        apply(connection, fold(stretch(log, start, end)))
        assert tables(connection) == before


def test_what_is_delivered_is_not_owed_again_and_what_is_owed_is_owed_once(
    connection: sqlite3.Connection,
) -> None:
    batches = [
        Batch(0, 0, 2, (said(0), said(1))),
        Batch(0, 2, 3, (), (received(0, 2),)),
    ]
    apply(connection, batches)
    before = tables(connection)
    assert [row[1] for row in before["pending"]] == [1]
    set_back(connection, 0)
    apply(connection, batches)
    assert tables(connection) == before


def device(offset: int, name: str, *, is_added: bool = True) -> Batch:
    return Batch(0, offset, offset + 1, change=DeviceChange("bob", name, is_added, offset))


def test_a_device_that_has_ended_and_begun_again_does_not_end_again(
    connection: sqlite3.Connection,
) -> None:
    batches = [
        device(0, "phone"),
        device(1, "laptop"),
        device(2, "laptop", is_added=False),
        device(3, "laptop"),
        device(4, "laptop"),  # which changes nothing
        Batch(0, 5, 6, (said(5),)),
        Batch(0, 6, 7, (), (Receipt("m5", Mailbox("bob", "phone"), "2026", 6),)),
        device(7, "tablet"),
        device(8, "tablet", is_added=False),
    ]
    apply(connection, batches)
    before = tables(connection)
    opened = {row[2]: row[3] for row in before["devices"] if row[1] == "bob"}
    assert opened == {"*": None, "phone": 0, "laptop": 3}
    assert [row[1] for row in before["pending"]] == [5]  # the laptop's
    for start in range(9):
        set_back(connection, start)
        apply(connection, batches[start:])
        assert tables(connection) == before


def test_the_last_device_of_a_user_may_be_one_that_has_begun_again(
    connection: sqlite3.Connection,
) -> None:
    """The default mailbox stays closed."""
    batches = [
        device(0, "laptop"),
        Batch(0, 1, 2, (said(1),)),
        device(2, "laptop", is_added=False),
        device(3, "laptop"),
        Batch(0, 4, 5, (said(4),)),
    ]
    apply(connection, batches)
    before = tables(connection)
    for start in range(5):
        set_back(connection, start)
        apply(connection, batches[start:])
        assert tables(connection) == before


def test_who_was_removed_and_has_come_back_is_not_removed_again(
    connection: sqlite3.Connection,
) -> None:
    def event(offset: int, change: RoomChange | MemberChange) -> Batch:
        at = Position(0, offset)
        message = Message(f"e{offset}", ROOM, "alice", (), "", at, NEW_MS, EventKind.MEMBER)
        return Batch(0, offset, offset + 1, (message,), change=change)

    batches = [
        event(0, RoomChange(ROOM, "Ideas", History.ALL, ("alice", "bob"))),
        event(1, MemberChange(ROOM, "bob", MemberStep.REMOVE, Role.MEMBER)),
        event(2, MemberChange(ROOM, "bob", MemberStep.ADD, Role.ADMIN)),
        event(3, MemberChange(ROOM, "alice", MemberStep.REMOVE, Role.MEMBER)),
        event(4, RoomChange(ROOM, "Plans", None, None)),
    ]
    apply(connection, batches)
    before = tables(connection)
    for start in range(5):
        set_back(connection, start)
        apply(connection, batches[start:])
        assert tables(connection) == before


def test_of_an_id_that_a_batch_has_twice_the_first_counts(connection: sqlite3.Connection) -> None:
    twice = Message("m3", "dm:alice:bob", "alice", ("bob",), "x", Position(0, 5), NEW_MS)
    batch = Batch(0, 0, 6, (said(3), twice))
    apply(connection, [batch])
    before = tables(connection)
    assert [(row[0], row[1]) for row in before["messages"]] == [(3, "m3")]
    assert [row[1] for row in before["pending"]] == [3]
    set_back(connection, 0)
    apply(connection, [batch])
    assert tables(connection) == before


def test_what_was_purged_stays_away_and_what_is_owed_there_comes_back(
    connection: sqlite3.Connection,
) -> None:
    batches = [
        Batch(0, 0, 3, (said(0, time_ms=OLD_MS), said(1, time_ms=OLD_MS), said(2, time_ms=OLD_MS))),
        Batch(0, 3, 4, (), (received(0, 3), received(2, 3))),
    ]
    apply(connection, batches)
    assert purge_messages(connection, NEW_MS, 0, 10) == (2, None)
    before = tables(connection)
    assert before["purged"] == [(0, 3)]
    set_back(connection, 0)
    apply(connection, batches)
    assert tables(connection) == before
    connection.execute("DELETE FROM messages WHERE message_id = 'm1'")
    set_back(connection, 0)
    apply(connection, batches)
    assert tables(connection) == before


@pytest.mark.parametrize("table", ["messages", "both"])
@pytest.mark.parametrize("offset", range(4))
def test_a_message_that_was_missing_comes_back_as_it_was(
    connection: sqlite3.Connection, offset: int, table: str
) -> None:
    """Whether or not a row says that it is owed; and its conversation has the end that it had."""
    batches = [
        Batch(0, 0, 4, tuple(said(each, time_ms=NEW_MS + each) for each in range(4))),
        Batch(0, 4, 5, (), (received(2, 4),)),
    ]
    apply(connection, batches)
    before = tables(connection)
    connection.execute("DELETE FROM messages WHERE log_offset = ?", (offset,))
    if table == "both":
        connection.execute("DELETE FROM pending WHERE log_offset = ?", (offset,))
    set_back(connection, offset)
    apply(connection, fold_again(batches, offset))
    assert tables(connection) == before


def fold_again(batches: Sequence[Batch], start: int) -> Sequence[Batch]:
    """Return what comes of the log from an offset of the first batch on."""
    first, *others = batches
    left = tuple(each for each in first.messages if each.position.offset >= start)
    return [Batch(0, start, first.end, left), *others]
