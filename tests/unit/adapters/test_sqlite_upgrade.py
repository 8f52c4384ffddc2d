"""A file of version 1 becomes one of version 2 when it is opened, whatever it holds, also after
that was interrupted.
"""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from landline.adapters.sqlite import Database, SqliteMessageStore
from landline.adapters.sqlite.opening import FILE_NAME
from landline.model import (
    FIRST_TURN,
    Batch,
    Entry,
    Mailbox,
    Message,
    PendingQuery,
    Position,
    Receipt,
    Stretch,
)
from landline.protocol.fold import fold
from support.events import DIRECT, FOREIGN, ROOMS, USERS, random_logs, random_queries
from support.stores import SqliteStores
from support.tables import Rows, Tables, in_order
from support.version_1 import BEFORE_TURNS, make_file, opened

TIME_MS = 1_767_323_045_678
AT = "2026-01-02T03:04:05.678Z"


def sent(
    number: int, conversation: str = "dm:alice:bob", sender: str = "alice", *to: str
) -> Message:
    """Return a message whose number is its place in the log, too."""
    recipients = to or ("bob",)
    position = Position(0, number)
    return Message(
        f"old{number}", conversation, sender, recipients, "hello", position, TIME_MS + number
    )


def received(number: int, by: str = "bob") -> Receipt:
    return Receipt(f"old{number}", Mailbox(by), AT, 1_000)


async def tables(directory: Path) -> Rows:
    """Open the file, which upgrades it, and return what is in it."""
    stores = SqliteStores(directory)
    await stores.open()
    found = await stores.tables()
    await stores.close()
    return found


async def owed(directory: Path, user: str) -> list[str]:
    """Return what a user is owed, oldest first."""
    stores = SqliteStores(directory)
    store = await stores.open()
    [pending] = await store.pending([PendingQuery(Mailbox(user), {}, 1_000)])
    await stores.close()
    return [each.id for each in pending.messages]


def look(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    """Look into the file without opening it as a server does."""
    with opened(directory) as connection:
        return connection.execute(sql).fetchall()


# What a file may hold ----------------------------------------------------------------------------


async def test_what_was_undelivered_is_owed_and_the_rest_was_read(tmp_path: Path) -> None:
    make_file(tmp_path, [sent(n) for n in range(6)], [received(n) for n in (0, 1, 3)])
    assert await owed(tmp_path, "bob") == ["old2", "old4", "old5"]
    found = await tables(tmp_path)
    assert found["conversations"] == [("dm:alice:bob", "direct", None, None, 5, TIME_MS + 5)]
    assert found["members"] == [
        ("dm:alice:bob", "alice", "member", 0, 5),
        ("dm:alice:bob", "bob", "member", 0, 1),
    ]
    assert look(tmp_path, "SELECT user_name, device, since FROM devices ORDER BY 1") == [
        ("alice", "*", 0),
        ("bob", "*", 0),
    ]
    statuses = look(tmp_path, "SELECT message_id, recipient, status FROM message_status")
    assert {id for id, user, status in statuses if status == "UNDELIVERED" and user == "bob"} == {
        "old2",
        "old4",
        "old5",
    }


async def test_messages_are_found_and_their_conversations_take_turns(tmp_path: Path) -> None:
    make_file(tmp_path, [sent(0), sent(1, "dm:bob:carol", "carol"), sent(2)])
    database = Database(tmp_path, lambda _why: None)
    store = SqliteMessageStore(database)
    assert {id: each.position.offset for id, each in (await store.find(["old1"])).items()} == {
        "old1": 1
    }
    [page] = await store.pending([PendingQuery(Mailbox("bob"), {}, 2, FIRST_TURN)])
    assert [each.id for each in page.messages] == ["old0", "old1"]
    assert [each.id for each in page.ahead] == ["old0", "old2"]
    await database.close()


async def test_a_new_file_and_one_without_messages_are_the_same(tmp_path: Path) -> None:
    make_file(tmp_path / "old")
    assert await tables(tmp_path / "old") == await tables(tmp_path / "new")


@pytest.mark.parametrize("scripts", [(), (BEFORE_TURNS,)], ids=["last", "first"])
async def test_rows_in_odd_states_are_what_they_mean(
    scripts: tuple[str, ...], tmp_path: Path
) -> None:
    """Receipts without a message, and of somebody who is owed nothing; messages to oneself; names
    of conversations that say nothing; rows that do not say their conversation, or their offset.
    """
    messages = [
        sent(0, "dm:bob:bob", "bob", "bob"),
        sent(1, "notes", "alice", "bob", "carol"),
        sent(2, "notes", "dave", "erin"),
        sent(3, ROOMS[0], "alice", "bob"),
        sent(4),
    ]
    receipts = [received(77), received(4, "mallory"), received(1, "carol")]
    odd = "INSERT INTO deliveries (message_id, recipient, mailbox, status) VALUES"
    make_file(
        tmp_path,
        messages,
        receipts,
        *scripts,
        f"{odd} ('nowhere', 'bob', 'bob', 'UNDELIVERED');",
        "UPDATE deliveries SET conversation = NULL WHERE message_id = 'old4';"
        if not scripts
        else "",
    )
    assert await owed(tmp_path, "bob") == ["old0", "old1", "old3", "old4"]
    assert await owed(tmp_path, "erin") == ["old2"]
    assert await owed(tmp_path, "carol") == await owed(tmp_path, "mallory") == []
    found = await tables(tmp_path)
    assert [row[:2] for row in found["conversations"]] == [
        ("dm:alice:bob", "direct"),
        ("dm:bob:bob", "direct"),
        ("notes", "direct"),
        (ROOMS[0], "room"),
    ]
    assert found["members"] == [
        ("dm:alice:bob", "alice", "member", 0, 4),
        ("dm:alice:bob", "bob", "member", 0, 3),
        ("dm:bob:bob", "bob", "member", 0, -1),
        ("notes", "alice", "member", 0, 2),
        ("notes", "bob", "member", 0, 0),
        ("notes", "carol", "member", 0, 2),
    ]
    assert look(tmp_path, "SELECT count(*) FROM revocations") == [(0,)]


def random_messages(chance: random.Random) -> tuple[list[Message], list[Receipt]]:
    """Return what a log of version 1 may hold, with holes."""
    messages, receipts = [], []
    offset = 0
    for _ in range(chance.choice((0, 1, 20, 60))):
        conversation = chance.choice((*DIRECT, FOREIGN, ROOMS[0]))
        if conversation in DIRECT:
            pair = conversation.split(":")[1:]
            sender, recipient = chance.sample(pair, 2)
            message = sent(offset, conversation, sender, recipient)
        else:
            sender, *recipients = chance.sample(USERS, chance.randrange(2, 4))
            message = sent(offset, conversation, sender, *recipients)
        messages.append(message)
        receipts += [received(offset, user) for user in USERS if chance.random() < 0.4]
        offset += chance.choice((1, 1, 3))
    return messages, receipts


@pytest.mark.parametrize("seed", range(25))
async def test_an_upgraded_file_goes_on_like_a_new_one(seed: int, tmp_path: Path) -> None:
    """With what comes after it, of every kind, it comes to what a new file comes to that has had
    the log from the beginning. Only what was read then nobody has recorded.
    """
    chance = random.Random(seed)
    messages, receipts = random_messages(chance)
    make_file(tmp_path, messages, receipts)
    end = max((each.position.offset for each in messages), default=-1) + 1
    end = max([end, *(each.offset + 1 for each in receipts)])
    model = Tables(1)
    assert model.apply([Batch(0, 0, end, tuple(messages), tuple(receipts))])
    for conversation in model.conversations.values():
        for user, member in conversation.members.items():
            member.read_offset = _read_offset(model, conversation.name, user)
    assert await tables(tmp_path) == in_order(model.rows())
    stores = SqliteStores(tmp_path)
    store = await stores.open()
    assert await stores.statuses() == model.statuses()
    [log] = random_logs(chance, 1).values()
    later = tuple(_moved(each, end) for each in log)
    batches = fold(Stretch(0, end, later[-1].position.offset + 1, later))
    assert await store.apply(batches)
    assert model.apply(batches)
    assert await stores.tables() == in_order(model.rows())
    assert await stores.statuses() == model.statuses()
    numbers = await stores.conversation_ids()
    model.renumber(numbers)
    queries = random_queries(chance, 1, numbers)
    for query, found in zip(queries, await store.pending(queries), strict=True):
        assert found == model.pending(query, found.applied)
    await stores.close()


def _read_offset(model: Tables, conversation: str, user: str) -> int:
    rows = model.owed.get(Mailbox(user), {})
    unseen = [at.offset for at, row in rows.items() if row.message.conversation == conversation]
    return min(unseen) - 1 if unseen else model.conversations[conversation].last_offset


def _moved(entry: Entry, offset: int) -> Entry:
    return entry._replace(position=Position(0, entry.position.offset + offset))


# Interrupted -------------------------------------------------------------------------------------

# Opens the file and is killed where it is about to run a statement.
MORTAL = """
import os, signal, sqlite3, sys
from pathlib import Path
from landline.adapters.sqlite import opening

class Mortal(sqlite3.Connection):
    def execute(self, sql, *arguments):
        if sys.argv[2] in sql:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(sql, *arguments)

connect = sqlite3.connect
sqlite3.connect = lambda *args, **options: connect(*args, factory=Mortal, **options)
opening.open_writer(Path(sys.argv[1]), "rwc")
"""


def killed(directory: Path, statement: str) -> None:
    command = [sys.executable, "-c", MORTAL, str(directory / FILE_NAME), statement]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr


@pytest.mark.parametrize(
    ("statement", "is_done"),
    [
        ("ADD COLUMN kind", False),
        ("CREATE TABLE conversations", False),
        ("INSERT INTO members", False),
        ("INSERT INTO pending", False),
        ("COMMIT", False),
        ("wal_checkpoint", True),
    ],
)
async def test_an_upgrade_that_is_killed_is_done_or_not(
    statement: str, is_done: bool, tmp_path: Path
) -> None:
    messages, receipts = random_messages(random.Random(5))
    make_file(tmp_path / "data", messages, receipts)
    shutil.copytree(tmp_path / "data", tmp_path / "other")
    expected = await tables(tmp_path / "other")
    for place in range(2):
        killed(tmp_path / "data", statement)
        shutil.copytree(tmp_path / "data", tmp_path / f"seen{place}")
        old = look(tmp_path / f"seen{place}", "SELECT name FROM sqlite_schema ORDER BY 1")
        version = look(tmp_path / f"seen{place}", "PRAGMA user_version")
        assert version == [(2 if is_done else 1,)]
        assert (("deliveries",) in old) == (("conversations",) not in old) == (not is_done)
    assert await tables(tmp_path / "data") == expected


async def test_a_number_that_an_older_landline_has_written_is_put_right(tmp_path: Path) -> None:
    """Between the commit and the moment after it in which the number reaches the header, an older
    one does not see that the file is newer: it writes its own number, and fails.
    """
    make_file(tmp_path, [sent(0)])
    assert await owed(tmp_path, "bob") == ["old0"]
    look(tmp_path, "PRAGMA user_version = 1")
    assert await owed(tmp_path, "bob") == ["old0"]
    assert look(tmp_path, "PRAGMA user_version") == [(2,)]


async def test_the_header_says_at_once_that_the_file_is_newer(tmp_path: Path) -> None:
    """An older Landline looks there, before it opens the file as a database."""
    make_file(tmp_path, [sent(0)])
    database = Database(tmp_path, lambda _why: None)
    assert (tmp_path / FILE_NAME).read_bytes()[60:64] == b"\0\0\0\2"
    await database.close()


async def test_an_upgrade_says_when_it_begins_and_ends(tmp_path: Path) -> None:
    make_file(tmp_path, [sent(n) for n in range(3)], [received(0)])
    with capture_logs() as lines:
        await tables(tmp_path)
        await tables(tmp_path)
    begins, ends = (line for line in lines if line["event"].startswith("upgrade"))
    assert begins == {
        "event": "upgrade_begins",
        "log_level": "info",
        "version": 2,
        "messages": 3,
    }
    assert isinstance(ends.pop("seconds"), float)
    assert ends == {**begins, "event": "upgrade_ends", "conversations": 1, "pending": 2}


async def test_a_file_that_cannot_be_upgraded_stays_what_it_was(tmp_path: Path) -> None:
    """Two messages at one place: no Landline has written that."""
    again = "INSERT INTO messages SELECT 'other', conversation, sender, content, created_at, 0, 0"
    make_file(tmp_path, [sent(0)], (), f"{again} FROM messages;")
    with pytest.raises(Exception, match="cannot be used"):
        await tables(tmp_path)
    names = look(tmp_path, "SELECT name FROM sqlite_schema")
    assert ("deliveries",) in names
    assert ("conversations",) not in names
    assert look(tmp_path, "PRAGMA user_version") == [(1,)]
