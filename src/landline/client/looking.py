"""Finds out whether a file is an outbox, before anything about it is changed."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from landline.client.errors import ClientError

# "Lndl": what SQLite's header says of the program that a database belongs to.
OUTBOX_APPLICATION_ID = 0x4C6E646C

_TABLES = {
    "outbox": ["place", "ref", "recipient", "content"],
    "handed": ["place", "id"],
    "owner": ["only", "user", "server"],
    "details": ["ref", "fields"],
}
# An earlier version did not note its owner, and another one had no details.
_TABLES_BEFORE = {"outbox", "handed"}

SCHEMA = f"""
    PRAGMA application_id = {OUTBOX_APPLICATION_ID};
    CREATE TABLE IF NOT EXISTS outbox (
        place INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE,
        recipient TEXT NOT NULL, content TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS handed (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
    CREATE TABLE IF NOT EXISTS owner (
        only INTEGER PRIMARY KEY CHECK (only = 1), user TEXT NOT NULL, server TEXT NOT NULL);
"""
# What drafts have beside their text. It is there only while some have: an earlier version refuses a
# file with a table that it does not know.
DETAILS = "CREATE TABLE IF NOT EXISTS details (ref TEXT PRIMARY KEY, fields TEXT NOT NULL)"


@dataclass(frozen=True, slots=True)
class Looks:
    """What is in an outbox: how many drafts, and its owner (user, server) if that is noted."""

    drafts: int = 0
    owner: tuple[str, str] | None = None


def resolved(path: Path) -> Path:
    """Return the path with its links followed, even if there is no file. Raises: OSError."""
    try:
        return path.resolve()
    except RuntimeError as error:  # links that lead to each other, before Python 3.13
        raise OSError(str(error)) from None


def look(path: Path) -> Looks:
    """Return what is in an outbox, or in an empty file.

    It opens the file with SQLite alone. If another chat of this process has it open, any other way
    would give up that chat's lock when it closes the file.

    Raises: ClientError if it is something else, sqlite3.Error, OSError.
    """
    if not path.is_file():
        raise ClientError(f"cannot use the outbox {path}: it is no file; give the name of another")
    try:
        return _look(path, "ro")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
    # A process that was killed has left a journal, and only a writer can apply that.
    return _look(path, "rw")


def _look(path: Path, mode: str) -> Looks:
    address = f"{path.as_uri()}?mode={mode}"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=0)) as database:
        names = {
            name
            for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"
            )
        }
        (application_id,) = database.execute("PRAGMA application_id").fetchone()
        if not _is_outbox(database, names, application_id):
            raise ClientError(
                f"cannot use the outbox {path}: it is a database of another program; "
                "give the name of another file"
            )
        if not names:
            return Looks()
        (drafts,) = database.execute("SELECT count(*) FROM outbox").fetchone()
        owner = None
        if "owner" in names:
            owner = database.execute("SELECT user, server FROM owner").fetchone()
        return Looks(drafts, owner)


def _is_outbox(database: sqlite3.Connection, names: set[str], application_id: int) -> bool:
    if application_id not in {0, OUTBOX_APPLICATION_ID}:
        return False
    if not names:
        return True
    return _TABLES_BEFORE <= names <= _TABLES.keys() and all(
        [column[1] for column in database.execute(f"PRAGMA table_info({name})")] == _TABLES[name]
        for name in names
    )
