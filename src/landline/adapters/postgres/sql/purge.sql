-- Looks at the next $4 messages of the partition $1 behind the offset $2, and deletes those that are
-- older than $3 (milliseconds since the Unix epoch) and that nobody is owed. Returns how many were
-- deleted, the last offset that was looked at, and whether all of them were old: null for none.
--
-- Whoever is owed a message of a room is a member, and of a direct conversation one of the two.
-- Where the name does not say who they are, some log may have named others: those stay.
WITH looked AS MATERIALIZED (
    SELECT message_id, conversation, log_offset,
           created_at < timestamptz 'epoch' + $3::bigint * interval '1 millisecond' AS is_old
    FROM messages
    WHERE log_partition = $1::int AND log_offset > $2::bigint
    ORDER BY log_offset LIMIT $4::int
), free AS MATERIALIZED (
    SELECT message_id
    FROM looked CROSS JOIN LATERAL (
        SELECT conversation_id, kind FROM conversations
        WHERE name = looked.conversation COLLATE "C" OFFSET 0
    ) AS c
    WHERE is_old AND (kind = 'room' OR conversation LIKE 'dm:%') AND NOT EXISTS (
        SELECT FROM members AS w CROSS JOIN LATERAL (
            SELECT mailbox_id FROM devices
            WHERE user_name = w.user_name COLLATE "C" OFFSET 0
        ) AS d CROSS JOIN LATERAL (
            SELECT FROM pending AS p
            WHERE p.mailbox_id = d.mailbox_id AND p.log_partition = $1::int
                AND p.log_offset = looked.log_offset OFFSET 0
        ) AS p
        WHERE w.conversation_id = c.conversation_id)
), gone AS (
    DELETE FROM messages WHERE message_id = ANY (ARRAY(SELECT message_id FROM free))
    RETURNING log_offset
), noted AS (
    INSERT INTO purged AS p (log_partition, before_offset)
    SELECT $1::int, max(log_offset) + 1 FROM gone HAVING count(*) > 0
    ON CONFLICT (log_partition) DO UPDATE SET before_offset = excluded.before_offset
        WHERE p.before_offset < excluded.before_offset
)
SELECT (SELECT count(*) FROM gone), max(log_offset), bool_and(is_old) FROM looked
