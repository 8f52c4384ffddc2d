SELECT message_id, log_partition, log_offset, created_at FROM messages
WHERE message_id IN (SELECT value FROM json_each(?))
