SELECT message_id, conversation, sender, content, log_partition, log_offset, created_at, kind, data
FROM messages WHERE message_id > ? ORDER BY message_id LIMIT ?
