-- The next $2 conversations behind $1 in the order of bytes, each with the place and time of its
-- last message. It skips from one to the next in the timeline: what a conversation holds is not read.
WITH RECURSIVE names AS (
    (SELECT conversation COLLATE "C" AS name, 1 AS number FROM messages
     WHERE conversation COLLATE "C" > $1::text ORDER BY conversation COLLATE "C" LIMIT 1)
    UNION ALL
    SELECT (SELECT conversation COLLATE "C" FROM messages
            WHERE conversation COLLATE "C" > names.name ORDER BY conversation COLLATE "C" LIMIT 1),
           number + 1
    FROM names WHERE number < $2::int AND name IS NOT NULL
)
SELECT name, log_offset, (extract(epoch FROM created_at) * 1000)::bigint AS time_ms
FROM names CROSS JOIN LATERAL (
    SELECT log_offset, created_at FROM messages
    WHERE conversation COLLATE "C" = names.name ORDER BY log_offset DESC LIMIT 1
) AS last
ORDER BY number
