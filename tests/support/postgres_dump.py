"""What the tables of the PostgreSQL store hold, in the columns of `support.tables.Tables.rows`."""

from typing import Any

from landline.config.values import SecretUrl
from support.postgres import fetch

QUERIES = {
    "conversations": """
        SELECT name, kind, history, title, last_offset, last_time_ms FROM conversations""",
    "members": """
        SELECT name, user_name, role, joined_offset, read_offset
        FROM members JOIN conversations USING (conversation_id)""",
    "former_members": """
        SELECT name, user_name, joined_offset, left_offset
        FROM former_members JOIN conversations USING (conversation_id)""",
    "devices": """
        SELECT user_name, device, i - 1, since[i]
        FROM devices CROSS JOIN generate_subscripts(since, 1) AS i
        WHERE device <> '*' AND since[i] IS NOT NULL""",
    "pending": """
        SELECT user_name, device, log_partition, log_offset, name, is_received
        FROM pending LEFT JOIN devices USING (mailbox_id)
            LEFT JOIN conversations USING (conversation_id)""",
    "messages": """
        SELECT message_id::text, conversation, sender, content, kind, data, log_partition,
               log_offset, (extract(epoch FROM created_at) * 1000)::bigint FROM messages""",
    "quarantine": "SELECT log_partition, log_offset, value, reason FROM quarantine",
}


async def dump(url: SecretUrl) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of every table, by names and without the store's own numbers."""
    return {table: await fetch(url.reveal(), sql) for table, sql in QUERIES.items()}


async def conversation_ids(url: SecretUrl) -> dict[str, int]:
    """Return the store's own number of each conversation."""
    return dict(await fetch(url.reveal(), "SELECT name, conversation_id FROM conversations"))
