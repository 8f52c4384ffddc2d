SELECT message_id, conversation, sender, content, log_partition, log_offset,
       (extract(epoch FROM created_at) * 1000)::bigint
FROM messages WHERE message_id >= $1::uuid AND ($2 OR message_id > $1::uuid)
ORDER BY message_id LIMIT $3
