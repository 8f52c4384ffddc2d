"""What people read."""

from landline.adapters.sqlite.database import Database


class SqliteConversations:
    def __init__(self, database: Database) -> None:
        self._database = database
