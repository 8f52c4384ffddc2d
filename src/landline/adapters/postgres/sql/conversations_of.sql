-- The conversations of the user $1, those with the newest last event first, behind the time $2 and the
-- name $3, at most $4: each with the last event that is visible to them, and how many of the newest $6
-- behind what they have read are not their own, not more than $5.
--
-- All of the user's conversations are looked at, and nothing of what was said in those that are not in
-- the answer.
WITH mine AS MATERIALIZED (
    SELECT c.*, w.role, w.read_offset, w.joined_offset
    FROM members AS w CROSS JOIN LATERAL (
        SELECT * FROM conversations WHERE conversation_id = w.conversation_id OFFSET 0
    ) AS c
    WHERE w.user_name = $1::text COLLATE "C" AND ($2::bigint IS NULL OR last_time_ms < $2::bigint
        OR last_time_ms = $2::bigint AND name > $3::text COLLATE "C")
    ORDER BY last_time_ms DESC, name LIMIT $4::int
)
SELECT mine.name, mine.kind, title, role, mine.last_offset, last_time_ms, read_offset, unread,
       conversation_id, log_partition, log_offset, message_id, sender, content,
       (extract(epoch FROM created_at) * 1000)::bigint AS time_ms, m.kind AS event_kind, data
FROM mine CROSS JOIN LATERAL (
    -- Whoever joins has read what was before, so all that follows is visible to them.
    SELECT count(*) AS unread FROM (
        SELECT FROM (
            SELECT sender FROM messages
            WHERE conversation = mine.name COLLATE "C" AND log_offset > mine.read_offset
            ORDER BY log_offset DESC LIMIT $6::int
        ) AS newest
        WHERE sender <> $1::text COLLATE "C" LIMIT $5::int
    ) AS m
) AS u CROSS JOIN LATERAL (
    -- Of the spans before theirs only where nothing is left in this one.
    SELECT coalesce((
        SELECT log_offset FROM messages
        WHERE conversation = mine.name COLLATE "C"
            AND log_offset >= CASE mine.history WHEN 'joined' THEN joined_offset ELSE 0 END
        ORDER BY log_offset DESC LIMIT 1
    ), (
        SELECT m.log_offset
        FROM former_members AS f CROSS JOIN LATERAL (
            SELECT log_offset FROM messages
            WHERE conversation = mine.name COLLATE "C" AND log_offset >= f.joined_offset
                AND log_offset < f.left_offset
            ORDER BY log_offset DESC LIMIT 1
        ) AS m
        WHERE f.conversation_id = mine.conversation_id AND f.user_name = $1::text COLLATE "C"
        ORDER BY f.joined_offset DESC LIMIT 1
    )) AS last_visible OFFSET 0
) AS l LEFT JOIN LATERAL (
    SELECT * FROM messages
    WHERE conversation = mine.name COLLATE "C" AND log_offset = last_visible LIMIT 1
) AS m ON true
ORDER BY last_time_ms DESC, name
