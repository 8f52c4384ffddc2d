"""The message store in PostgreSQL, by asyncpg."""

from landline.adapters.postgres.going_over import OldServers, go_over
from landline.adapters.postgres.message_store import PostgresMessageStore
from landline.adapters.postgres.migrations import migrate
from landline.adapters.postgres.preflight import check, collation_change

__all__ = [
    "OldServers",
    "PostgresMessageStore",
    "check",
    "collation_change",
    "go_over",
    "migrate",
]
