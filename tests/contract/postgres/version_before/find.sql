SELECT message_id, log_partition, log_offset,
       (extract(epoch FROM created_at) * 1000)::bigint AS time_ms
FROM messages WHERE message_id = ANY ($1::uuid[])
