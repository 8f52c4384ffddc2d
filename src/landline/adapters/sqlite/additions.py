"""What a file of an older Landline gets when it is opened. The older one can still open it."""

import sqlite3

from landline.adapters.statements import statement

# As in sql/schema.sql.
_TURNS_COLUMN = statement("sqlite", "turns_column")
_TURNS_INDEXES = statement("sqlite", "turns_indexes")
_TURNS_FILL = statement("sqlite", "turns_fill")

_REVOCATIONS = statement("sqlite", "revocations")


def add_turns(connection: sqlite3.Connection) -> None:
    """Give each pending row its conversation, and index it. Raises: sqlite3.Error."""
    columns = {name for _id, name, *_rest in connection.execute("PRAGMA table_info(deliveries)")}
    connection.execute("BEGIN IMMEDIATE")
    try:
        if "conversation" not in columns:
            connection.execute(_TURNS_COLUMN)
        for statement in filter(str.strip, _TURNS_INDEXES.split(";")):
            connection.execute(statement)
        connection.execute(_TURNS_FILL)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def add_revocations(connection: sqlite3.Connection) -> None:
    """Make the table of revocations, where there is none. Raises: sqlite3.Error."""
    connection.execute(_REVOCATIONS)
