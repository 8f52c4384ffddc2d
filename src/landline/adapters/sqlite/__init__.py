"""The embedded log and store: one SQLite file, one writer thread, one fsync per commit group."""

from landline.adapters.sqlite.conversation_store import SqliteConversations
from landline.adapters.sqlite.database import Database
from landline.adapters.sqlite.device_store import SqliteDevices
from landline.adapters.sqlite.event_log import SqliteEventLog
from landline.adapters.sqlite.message_store import SqliteMessageStore
from landline.adapters.sqlite.revocations import SqliteRevocations
from landline.adapters.sqlite.tidying import SqliteTidying

__all__ = [
    "Database",
    "SqliteConversations",
    "SqliteDevices",
    "SqliteEventLog",
    "SqliteMessageStore",
    "SqliteRevocations",
    "SqliteTidying",
]
