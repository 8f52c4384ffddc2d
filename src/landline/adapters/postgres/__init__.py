"""The message store in PostgreSQL, by asyncpg."""

from landline.adapters.postgres.message_store import PostgresMessageStore
from landline.adapters.postgres.migrations import migrate
from landline.adapters.postgres.preflight import check, collation_change

__all__ = ["PostgresMessageStore", "check", "collation_change", "migrate"]
