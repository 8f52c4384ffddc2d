"""No statement's cost grows with the store: each finds its rows through an index.

The rows of a mailbox that is owed very much are such a cost too. So for pages the index is named.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from landline.adapters.sqlite.applying import apply_batch
from landline.adapters.sqlite.conversation_store import read_list, read_page
from landline.adapters.sqlite.opening import FILE_NAME, open_writer
from landline.adapters.statements import statement
from landline.model import (
    Batch,
    EventKind,
    History,
    HistoryQuery,
    ListQuery,
    Mailbox,
    MemberChange,
    MemberStep,
    Message,
    Position,
    Receipt,
    Role,
    RoomChange,
)
from support.version_1 import make_file

SQL = Path(__file__).parents[3] / "src" / "landline" / "adapters" / "sqlite" / "sql"

# What is run once in a file's life, or makes it; and what an audit walks.
NOT_OFTEN = re.compile(r"upgrade|schema|^conversations|^revocations|audit|old_deliveries|version_1")
# Tables with a row for each partition, and how far statements go that begin at a table's low end.
MAY_SCAN = {
    "applied": ["applied"],
    "membership": ["applied"],
    "pending": ["applied"],
    "purge_log": ["log", "log"],
    "rooms": ["applied"],
}
TABLES = frozenset(
    ("messages", "conversations", "members", "former_members", "devices", "pending", "log",
     "applied", "quarantine", "purged", "ended_users")
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
    if "shown_messages" in sql:  # what the view has behind its own aliases
        _, view = statement("sqlite", "conversations").split("CREATE VIEW shown_messages")
        sql += view.partition(";")[0]
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


TIMELINE = "INDEX messages_timeline (conversation=? AND log_offset"
MEMBER = "PRIMARY KEY (conversation_id=? AND user_name=?"
ENDED = "PRIMARY KEY (user_name=?)"
NAME = "INDEX sqlite_autoindex_conversations_1 (name=?)"
# What people read: through which index each row is found, by its alias.
READING = {
    "membership": {"c": [NAME], "w": [MEMBER]},
    "history_before": {
        "m": [TIMELINE] * 2,
        "f": [f"{MEMBER} AND joined_offset<?"],
        "e": [ENDED] * 2,
    },
    "history_after": {
        "m": [TIMELINE] * 2,
        "f": [f"{MEMBER} AND joined_offset>?"],
        "b": [""],
        "e": [ENDED] * 2,
    },
    "list_conversations": {
        "o": ["INDEX members_of_users (user_name=?)"],
        "c": ["INTEGER PRIMARY KEY (rowid=?)"],
        "w": [MEMBER],
        "u": [TIMELINE] * 3,
        "f": [MEMBER],
        "m": [""],  # by its offset, in an old file through an index
    },
    "list_members": {"c": [NAME], "o": [""], "w": ["PRIMARY KEY (conversation_id=?"]},
    "rooms": {"c": [NAME], "w": ["PRIMARY KEY (conversation_id=?"]},
    "statuses": {
        "m": ["INDEX sqlite_autoindex_messages_1 (message_id=?)"],
        "c": [NAME],
        "o": [""],
        "r": ["PRIMARY KEY (conversation_id=?"],
        "x": ["PRIMARY KEY (conversation_id=?"],
        "p": ["INDEX pending_messages (log_offset=?)"],
        "d": ["INTEGER PRIMARY KEY (rowid=?)"],
        "e": [ENDED],
    },
}


@pytest.mark.parametrize("name", READING)
def test_what_people_read_is_found_through_the_index_that_is_meant_for_it(
    connection: sqlite3.Connection, name: str
) -> None:
    found: dict[str, list[str]] = {}
    for step in plan(connection, name):
        if step.startswith("SEARCH "):
            _, alias, using = step.split(" ", 2)
            found.setdefault(alias, []).append(using.replace("COVERING ", ""))
    assert found.keys() == READING[name].keys()
    for alias, expected in READING[name].items():
        assert len(found[alias]) == len(expected)
        for using, beginning in zip(found[alias], expected, strict=True):
            assert using.startswith(f"USING {beginning}")


@pytest.mark.parametrize("name", ["history_before", "history_after", "list_conversations"])
def test_a_walk_through_former_memberships_need_not_sort(
    connection: sqlite3.Connection, name: str
) -> None:
    """To sort, it would first read all that is in a membership."""
    assert not [each for each in plan(connection, name) if "RIGHT PART OF ORDER BY" in each]


ROOM = "room:00000001-0000-8000-8000-0000000000aa"
USERS = tuple(f"user{number}" for number in range(20))


def steps_of(connection: sqlite3.Connection, work: Callable[[], object]) -> int:
    """Do something, and count what SQLite does for it, in hundreds of its machine's steps."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 100)
    assert work()
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
        start, steps = 1_000 * count, 0
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
        for batch in batches[come]:
            steps += steps_of(connection, partial(apply_batch, connection, batch))
        costs.append(steps)
    connection.close()
    few, many = costs
    assert few > 10
    assert many < 15 * few


MANY = 20_000


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A room in which user0 has written very much, in which user1 has read nothing, and of which
    user2 was a member meanwhile, and is one again.
    """
    connection = open_writer(tmp_path_factory.mktemp("data") / FILE_NAME, "rwc")
    made = RoomChange(ROOM, None, History.JOINED, USERS[:3])
    changes: dict[int, RoomChange | MemberChange] = {
        0: made,
        MANY: MemberChange(ROOM, USERS[2], MemberStep.REMOVE, Role.MEMBER),
        MANY + 1: MemberChange(ROOM, USERS[2], MemberStep.ADD, Role.MEMBER),
    }
    connection.execute("BEGIN")
    for offset, change in changes.items():
        kind = EventKind.ROOM if change is made else EventKind.MEMBER
        event = Message(f"m{offset}", ROOM, USERS[0], (), "", Position(0, offset), 1, kind)
        assert apply_batch(connection, Batch(0, offset, offset + 1, (event,), change=change))
        if change is made:
            said = tuple(
                Message(f"m{each}", ROOM, USERS[0], (), "x", Position(0, each), 1)
                for each in range(1, MANY)
            )
            assert apply_batch(connection, Batch(0, 1, MANY, said))
    connection.execute("COMMIT")
    yield connection
    connection.close()


@pytest.mark.parametrize("user", USERS[:3])
@pytest.mark.parametrize("at", [0, 100, MANY // 2, MANY + 1])
def test_a_page_costs_the_same_wherever_it_is(room: sqlite3.Connection, user: str, at: int) -> None:
    for before, after in ((at, None), (None, at), (None, None)):
        query = HistoryQuery(user, ROOM, before, after, 50)
        assert steps_of(room, partial(read_page, room, query)) < 150


@pytest.mark.parametrize(("user", "unread"), [(USERS[0], 0), (USERS[1], 100), (USERS[2], 1)])
def test_a_list_costs_the_same_however_much_is_unread(
    room: sqlite3.Connection, user: str, unread: int
) -> None:
    """And however much one has written oneself."""
    query = ListQuery(user, None, 50)
    assert steps_of(room, partial(read_list, room, query)) < 150
    [item] = read_list(room, query)
    assert item.unread == unread
