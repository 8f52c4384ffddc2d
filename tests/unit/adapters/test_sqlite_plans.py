"""No statement's cost grows with the store: each finds its rows through an index.

The rows of a mailbox that is owed very much are such a cost too. So for pages the index is named.
"""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from landline.adapters.sqlite.applying import apply_batch
from landline.adapters.sqlite.opening import FILE_NAME, open_writer
from landline.adapters.statements import statement
from landline.model import (
    Batch,
    EventKind,
    History,
    Mailbox,
    Message,
    Position,
    Receipt,
    RoomChange,
)
from support.version_1 import make_file

SQL = Path(__file__).parents[3] / "src" / "landline" / "adapters" / "sqlite" / "sql"

# What is run once in a file's life, or makes it; and what an audit walks.
NOT_OFTEN = re.compile(r"upgrade|schema|^conversations|^revocations|audit|old_deliveries|version_1")
# Tables with a row for each partition, and how far statements go that begin at a table's low end.
MAY_SCAN = {"applied": ["applied"], "pending": ["applied"], "purge_log": ["log", "log"]}
TABLES = frozenset(
    ("messages", "conversations", "members", "former_members", "devices", "pending", "log",
     "applied", "quarantine", "purged")
)  # fmt: skip


@pytest.fixture(params=["new", "upgraded"], scope="module")
def connection(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sqlite3.Connection]:
    directory = tmp_path_factory.mktemp("data")
    if request.param == "upgraded":
        make_file(directory)
    connection = open_writer(directory / FILE_NAME, "rwc")
    yield connection
    connection.close()


def plan(connection: sqlite3.Connection, name: str) -> list[str]:
    """Return the steps in which SQLite would carry out a statement."""
    sql = statement("sqlite", name)
    names = set(re.findall(r":([a-z_]+)", sql))
    arguments = dict.fromkeys(names) if names else (None,) * sql.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)]


def scanned(connection: sqlite3.Connection, name: str) -> list[str]:
    """Return the tables of which every row is looked at. An alias stands for its table."""
    sql = re.sub(r"--[^\n]*", "", statement("sqlite", name))
    aliases = dict(re.findall(r"(?:FROM|JOIN) (\w+) AS (\w+)", sql))
    tables = {alias: table for table, alias in aliases.items()}
    names = (step.split()[1] for step in plan(connection, name) if step.startswith("SCAN"))
    return [table for each in names if (table := tables.get(each, each)) in TABLES]


USUAL = sorted(path.stem for path in SQL.glob("*.sql") if not NOT_OFTEN.search(path.stem))


@pytest.mark.parametrize("name", USUAL)
def test_nothing_is_scanned(connection: sqlite3.Connection, name: str) -> None:
    assert scanned(connection, name) == MAY_SCAN.get(name, [])


def test_a_scan_would_be_found(connection: sqlite3.Connection) -> None:
    assert scanned(connection, "upgrade_reads") == ["pending"]


def test_a_page_begins_where_it_was_asked_for(connection: sqlite3.Connection) -> None:
    steps = [each for each in plan(connection, "pending") if each.startswith("SEARCH pending")]
    assert steps == ["SEARCH pending USING PRIMARY KEY (mailbox_id=? AND log_offset>?)"] * 2


def test_turns_are_found_in_the_index_of_turns(connection: sqlite3.Connection) -> None:
    steps = [each for each in plan(connection, "turns") if each.startswith("SEARCH p ")]
    by_turns = "SEARCH p USING COVERING INDEX pending_turns (mailbox_id=? AND conversation_id"
    [other] = [each for each in steps if not each.startswith(by_turns)]
    assert other == "SEARCH p USING PRIMARY KEY (mailbox_id=? AND log_offset=?)"
    assert len(steps) == 6


def test_who_has_seen_something_is_not_looked_for_in_all_their_conversations(
    connection: sqlite3.Connection,
) -> None:
    [step] = [each for each in plan(connection, "move_reads") if "SEARCH members" in each]
    assert step == "SEARCH members USING PRIMARY KEY (conversation_id=? AND user_name=?)"


ROOM = "room:00000001-0000-8000-8000-0000000000aa"
USERS = tuple(f"user{number}" for number in range(20))


def steps_of(batch: Batch, connection: sqlite3.Connection) -> int:
    """Apply a batch, and count what SQLite does for it, in steps of its virtual machine."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 100)
    assert apply_batch(connection, batch)
    connection.set_progress_handler(None, 100)
    return steps


@pytest.mark.parametrize("come", ["in the same batch", "in the next batch", "not at all"])
def test_what_a_batch_costs_grows_with_its_rows_and_no_faster(come: str, tmp_path: Path) -> None:
    """Ten times the messages to a room, and ten times the receipts of every second member."""
    connection = open_writer(tmp_path / FILE_NAME, "rwc")
    change = RoomChange(ROOM, None, History.ALL, USERS)
    made = Message("made", ROOM, USERS[0], (), "", Position(0, 0), 1, EventKind.ROOM)
    assert apply_batch(connection, Batch(0, 0, 1, (made,), change=change))
    costs = []
    for count in (10, 100):
        start = 1_000 * count
        [(_partition, at)] = connection.execute(statement("sqlite", "applied"))
        messages = tuple(
            Message(f"m{start + number}", ROOM, USERS[0], (), "x", Position(0, start + number), 1)
            for number in range(count)
        )
        receipts = tuple(
            Receipt(each.id, Mailbox(user), "2026", start + 900)
            for each in messages
            for user in USERS[::2]
        )
        batches = {
            "in the same batch": [Batch(0, at, start + 999, messages, receipts)],
            "in the next batch": [
                Batch(0, at, start + 500, messages),
                Batch(0, start + 500, start + 999, (), receipts),
            ],
            "not at all": [Batch(0, at, start + 999, messages)],
        }
        costs.append(sum(steps_of(batch, connection) for batch in batches[come]))
    connection.close()
    few, many = costs
    assert few > 10
    assert many < 15 * few
