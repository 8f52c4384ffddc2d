"""What a file of an older Landline gets when it is opened. The older one can still open it."""

import sqlite3

# As in schema.sql.
_ADD_COLUMN = "ALTER TABLE deliveries ADD COLUMN conversation TEXT"
_ADD_INDEXES = """
    CREATE INDEX IF NOT EXISTS deliveries_turns ON deliveries (mailbox, conversation, log_offset)
        WHERE status = 'UNDELIVERED';
    CREATE INDEX IF NOT EXISTS deliveries_without_conversation ON deliveries (message_id)
        WHERE status = 'UNDELIVERED' AND conversation IS NULL;
"""
_FILL = """
    UPDATE deliveries SET conversation = (
        SELECT m.conversation FROM messages AS m WHERE m.message_id = deliveries.message_id)
    WHERE status = 'UNDELIVERED' AND conversation IS NULL
"""


def add_turns(connection: sqlite3.Connection) -> None:
    """Give each pending row its conversation, and index it. Raises: sqlite3.Error."""
    columns = {name for _id, name, *_rest in connection.execute("PRAGMA table_info(deliveries)")}
    connection.execute("BEGIN IMMEDIATE")
    try:
        if "conversation" not in columns:
            connection.execute(_ADD_COLUMN)
        for statement in filter(str.strip, _ADD_INDEXES.split(";")):
            connection.execute(statement)
        connection.execute(_FILL)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
