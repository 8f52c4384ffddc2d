-- Applies a batch that makes a room or changes its title, with its event, and returns the partition
-- if it moved. See apply.sql for all that is not about rooms.
WITH moved AS (
    INSERT INTO applied AS a (log_partition, next_offset)
    SELECT $1::int, $3::bigint
    WHERE $2::bigint = coalesce(
        (SELECT next_offset FROM applied WHERE log_partition = $1::int),
        (SELECT epoch::bigint << 40 FROM log_identity), 0)
    ON CONFLICT (log_partition) DO UPDATE SET next_offset = excluded.next_offset
        WHERE a.next_offset = $2::bigint
    RETURNING log_partition
), gone AS MATERIALIZED (
    SELECT FROM purged
    WHERE log_partition = $1::int AND before_offset > $4::bigint AND NOT EXISTS (
        SELECT FROM (
            SELECT conversation_id FROM conversations WHERE name = $6::text COLLATE "C" OFFSET 0
        ) AS c CROSS JOIN LATERAL (
            SELECT user_name FROM members WHERE conversation_id = c.conversation_id
            UNION ALL
            SELECT user_name FROM outsiders WHERE conversation_id = c.conversation_id
            OFFSET 0
        ) AS w CROSS JOIN LATERAL (
            SELECT mailbox_id FROM devices WHERE user_name = w.user_name COLLATE "C" OFFSET 0
        ) AS d CROSS JOIN LATERAL (
            SELECT FROM pending AS p
            WHERE p.mailbox_id = d.mailbox_id AND p.log_partition = $1::int
                AND p.log_offset = $4::bigint OFFSET 0
        ) AS p)
), event AS (
    INSERT INTO messages (message_id, conversation, sender, content, created_at, log_partition,
                          log_offset, kind, data)
    SELECT $5::uuid, $6::text, $7::text, '',
           timestamptz 'epoch' + $9::bigint * interval '1 millisecond', log_partition, $4::bigint,
           'room', $10::text
    FROM moved WHERE NOT EXISTS (SELECT FROM gone)
    ON CONFLICT (message_id) DO NOTHING
    RETURNING log_partition, log_offset
), -- Nothing of what follows is done where the event is known already.
known AS MATERIALIZED (
    SELECT conversation_id FROM conversations
    WHERE name = $6::text COLLATE "C" AND EXISTS (SELECT FROM event)
), change AS MATERIALIZED (
    SELECT log_partition, log_offset, coalesce($13::text[], '{}') AS users,
           $13::text[] IS NOT NULL AND NOT EXISTS (
               SELECT FROM members WHERE conversation_id = (SELECT conversation_id FROM known)
           ) AND NOT EXISTS (
               SELECT FROM former_members
               WHERE conversation_id = (SELECT conversation_id FROM known)
           ) AS is_made
    FROM event
), brought_on AS (
    INSERT INTO conversations AS c (conversation_id, name, kind, last_offset, last_time_ms)
    SELECT conversation_id, $6::text, '', $4::bigint, $9::bigint FROM known
    ON CONFLICT (name) DO UPDATE
        SET last_offset = greatest(c.last_offset, excluded.last_offset),
            last_time_ms = CASE WHEN c.last_offset < excluded.last_offset
                THEN excluded.last_time_ms ELSE c.last_time_ms END,
            history = CASE WHEN (SELECT is_made FROM change) THEN $12::text ELSE c.history END,
            title = CASE WHEN (SELECT is_made FROM change) OR $13::text[] IS NULL
                THEN $11::text ELSE c.title END
    RETURNING conversation_id
), begun AS (
    INSERT INTO conversations AS c
        (name, kind, history, title, last_offset, last_time_ms)
    SELECT $6::text, 'room', $12::text, $11::text, $4::bigint, $9::bigint
    FROM event WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (name) DO UPDATE SET title = excluded.title
    RETURNING conversation_id
), place AS MATERIALIZED (
    SELECT conversation_id FROM brought_on UNION ALL SELECT conversation_id FROM begun
), joined AS (
    INSERT INTO members (conversation_id, user_name, role, joined_offset, number, read_offset)
    SELECT conversation_id, user_name, CASE number WHEN 1 THEN 'admin' ELSE 'member' END,
           log_offset, number, log_offset - 1
    FROM change CROSS JOIN place
    CROSS JOIN unnest(users) WITH ORDINALITY AS u (user_name, number)
    WHERE is_made ORDER BY user_name
    ON CONFLICT (conversation_id, user_name) DO NOTHING
), owed AS MATERIALIZED (
    SELECT user_name FROM change CROSS JOIN unnest(users) AS u (user_name) WHERE is_made
    UNION ALL
    SELECT user_name FROM members
    WHERE conversation_id = (SELECT conversation_id FROM known)
), opened AS MATERIALIZED (
    SELECT owed.user_name, d.mailbox_id, d.device AS to_device
    FROM owed LEFT JOIN LATERAL (
        SELECT mailbox_id, device FROM devices AS d
        WHERE user_name = owed.user_name COLLATE "C" AND CASE
            WHEN device <> '*' THEN since[$1::int + 1] IS NOT NULL
            ELSE NOT EXISTS (
                SELECT FROM devices AS n
                WHERE n.user_name = owed.user_name COLLATE "C" AND n.since[$1::int + 1] IS NOT NULL)
            END
        OFFSET 0
    ) AS d ON true
), made AS (
    INSERT INTO devices (user_name, device)
    SELECT DISTINCT user_name, '*' FROM opened WHERE mailbox_id IS NULL ORDER BY user_name
    ON CONFLICT (user_name, device) DO UPDATE SET device = excluded.device
    RETURNING mailbox_id, user_name
), entered AS (
    INSERT INTO pending (mailbox_id, log_partition, log_offset, conversation_id, is_received)
    SELECT coalesce(opened.mailbox_id, made.mailbox_id), log_partition, log_offset, conversation_id,
           user_name = $7::text
    FROM event CROSS JOIN place CROSS JOIN opened LEFT JOIN made USING (user_name)
    WHERE NOT (user_name = $7::text AND coalesce(to_device, '*') = $8::text)
    ON CONFLICT (mailbox_id, log_partition, log_offset) DO NOTHING
)
SELECT log_partition FROM moved
