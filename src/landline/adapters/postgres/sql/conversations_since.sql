-- What is in a partition from the offset $2 on, $3 messages at the most: each conversation with the
-- place and time of its last message among them, and how far that goes.
WITH found AS MATERIALIZED (
    SELECT conversation, log_offset, created_at FROM messages
    WHERE log_partition = $1::int AND log_offset >= $2::bigint
    ORDER BY log_offset LIMIT $3::int
)
SELECT DISTINCT ON (conversation COLLATE "C") conversation, log_offset,
       (extract(epoch FROM created_at) * 1000)::bigint AS time_ms, max(log_offset) OVER () + 1,
       count(*) OVER ()
FROM found
ORDER BY conversation COLLATE "C", log_offset DESC
