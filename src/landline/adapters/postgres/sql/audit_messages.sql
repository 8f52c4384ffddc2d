-- $1: the last id of the page before, null for the first page.
SELECT message_id, conversation, sender, content, log_partition, log_offset,
       (extract(epoch FROM created_at) * 1000)::bigint, kind, data
FROM messages
WHERE message_id >= coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
    AND message_id IS DISTINCT FROM $1::uuid
ORDER BY message_id LIMIT $2
