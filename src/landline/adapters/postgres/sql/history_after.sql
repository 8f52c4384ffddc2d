-- The oldest events of the conversation $2 above the offset $3 that $1 may see, the oldest first. See
-- history_before.sql for all the rest. The first span is the last one that begins at $3 or before.
WITH RECURSIVE mine AS MATERIALIZED (
    SELECT c.conversation_id, c.history = 'joined' AS is_joined,
           CASE c.history WHEN 'joined' THEN joined_offset ELSE 0 END AS first
    FROM (SELECT) AS one LEFT JOIN LATERAL (
        SELECT conversation_id, history FROM conversations
        WHERE name = $2::text COLLATE "C" OFFSET 0
    ) AS c ON true CROSS JOIN LATERAL (
        SELECT joined_offset FROM members
        WHERE conversation_id = coalesce(c.conversation_id, 0)
            AND user_name = $1::text COLLATE "C" OFFSET 0
    ) AS m
), spans AS (
    SELECT coalesce(CASE WHEN mine.first <= $3::bigint THEN mine.first END, (
               SELECT joined_offset FROM former_members
               WHERE conversation_id = mine.conversation_id AND user_name = $1::text COLLATE "C"
                   AND joined_offset <= $3::bigint
               ORDER BY joined_offset DESC LIMIT 1
           ), 0) - 1 AS first, 0::bigint AS next, 0::bigint AS events
    FROM mine
    UNION ALL
    SELECT span.first, span.next, spans.events + found.events
    FROM spans CROSS JOIN LATERAL (
        SELECT first, next FROM (
            SELECT first, 9223372036854775807 AS next FROM mine
            UNION ALL
            SELECT f.first, f.next FROM mine CROSS JOIN LATERAL (
                SELECT joined_offset AS first, left_offset AS next FROM former_members
                WHERE conversation_id = mine.conversation_id AND user_name = $1::text COLLATE "C"
                    AND joined_offset > spans.first
                ORDER BY joined_offset LIMIT 1
            ) AS f
            WHERE is_joined
        ) AS s
        WHERE first > spans.first ORDER BY first LIMIT 1
    ) AS span CROSS JOIN LATERAL (
        SELECT count(*) AS events FROM (
            SELECT FROM messages
            WHERE conversation = $2::text COLLATE "C"
                AND log_offset > $3::bigint AND log_offset >= span.first AND log_offset < span.next
            ORDER BY log_offset LIMIT $4::int + 1
        ) AS m
    ) AS found
    WHERE spans.events <= $4::int
), page AS MATERIALIZED (
    SELECT message_id, coalesce((
               SELECT e.name FROM ended_users AS e
               WHERE e.user_name = m.sender COLLATE "C" AND m.kind = 'message'
                   AND e.before[m.log_partition + 1] > m.log_offset
           ), m.sender) AS sender,
           content, created_at, log_partition, log_offset, kind, data
    FROM spans CROSS JOIN LATERAL (
        SELECT * FROM messages
        WHERE conversation = $2::text COLLATE "C"
            AND log_offset > $3::bigint AND log_offset >= spans.first AND log_offset < spans.next
        ORDER BY log_offset LIMIT $4::int + 1
    ) AS m
    ORDER BY log_offset LIMIT $4::int + 1
)
SELECT conversation_id, a.log_partition, a.next_offset AS log_offset, NULL::uuid AS message_id,
       NULL AS sender, NULL AS content, NULL::bigint AS time_ms, NULL AS kind, NULL AS data
FROM mine LEFT JOIN applied AS a ON true
UNION ALL
SELECT (SELECT conversation_id FROM mine), log_partition, log_offset, message_id, sender,
       CASE WHEN coalesce(sum(octet_length(content)) OVER (
           ORDER BY log_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < $5::bigint
           THEN content END,
       (extract(epoch FROM created_at) * 1000)::bigint, kind, data
FROM page
ORDER BY log_offset
