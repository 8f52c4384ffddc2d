-- Looks at the next $4 messages of the partition $1 behind the offset $2, and deletes those that are
-- older than $3 (milliseconds since the Unix epoch) and that nobody is owed. Returns how many were
-- deleted, the last offset that was looked at, and whether all of them were old: null for none.
--
-- Whoever is owed a message is in its conversation, or one of its outsiders. What their mailboxes are
-- owed of the whole stretch is read once. Messages beyond `applied` were applied before it was set
-- back: whether those were purged is decided by looking at this table, so it must not change meanwhile.
WITH looked AS MATERIALIZED (
    SELECT message_id, conversation, log_offset,
           created_at < timestamptz 'epoch' + $3::bigint * interval '1 millisecond' AS is_old
    FROM messages
    WHERE log_partition = $1::int AND log_offset > $2::bigint
        AND log_offset < (SELECT next_offset FROM applied WHERE log_partition = $1::int)
    ORDER BY log_offset LIMIT $4::int
), known AS MATERIALIZED (
    SELECT name, conversation_id
    FROM (SELECT DISTINCT conversation AS name FROM looked WHERE is_old) AS o CROSS JOIN LATERAL (
        SELECT conversation_id FROM conversations WHERE name = o.name COLLATE "C" OFFSET 0
    ) AS c
), mailboxes AS MATERIALIZED (
    SELECT DISTINCT mailbox_id
    FROM known CROSS JOIN LATERAL (
        SELECT user_name FROM members WHERE conversation_id = known.conversation_id
        UNION ALL
        SELECT user_name FROM outsiders WHERE conversation_id = known.conversation_id
        OFFSET 0
    ) AS w CROSS JOIN LATERAL (
        SELECT mailbox_id FROM devices WHERE user_name = w.user_name COLLATE "C" OFFSET 0
    ) AS d
), owed AS MATERIALIZED (
    SELECT DISTINCT p.log_offset
    FROM mailboxes CROSS JOIN LATERAL (
        SELECT log_offset FROM pending AS p
        WHERE p.mailbox_id = mailboxes.mailbox_id AND p.log_partition = $1::int
            AND p.log_offset > $2::bigint
            AND p.log_offset <= (SELECT max(log_offset) FROM looked WHERE is_old)
        ORDER BY p.log_offset OFFSET 0  -- so it is the primary key that is walked
    ) AS p
), gone AS (
    DELETE FROM messages WHERE message_id = ANY (ARRAY(
        SELECT message_id FROM looked JOIN known ON name = conversation
        WHERE is_old AND log_offset NOT IN (SELECT log_offset FROM owed)))
    RETURNING log_offset
), noted AS (
    INSERT INTO purged AS p (log_partition, before_offset)
    SELECT $1::int, max(log_offset) + 1 FROM gone HAVING count(*) > 0
    ON CONFLICT (log_partition) DO UPDATE SET before_offset = excluded.before_offset
        WHERE p.before_offset < excluded.before_offset
)
SELECT (SELECT count(*) FROM gone), max(log_offset), bool_and(is_old) FROM looked
