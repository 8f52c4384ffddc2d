-- Applies a batch that adds somebody to a room, removes them or changes their role, with its event,
-- and returns the partition if it moved. See apply.sql for all that is not about rooms.
--
-- Who is a member afterwards is worked out first, from what there is. Then the rows follow.
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
           'member', $10::text
    FROM moved WHERE NOT EXISTS (SELECT FROM gone)
    ON CONFLICT (message_id) DO NOTHING
    RETURNING log_partition, log_offset
), -- Nothing of what follows is done where the event is known already.
known AS MATERIALIZED (
    SELECT conversation_id FROM conversations
    WHERE name = $6::text COLLATE "C" AND EXISTS (SELECT FROM event)
), brought_on AS (
    INSERT INTO conversations AS c (conversation_id, name, kind, last_offset, last_time_ms)
    SELECT conversation_id, $6::text, '', $4::bigint, $9::bigint FROM known
    ON CONFLICT (name) DO UPDATE
        SET last_offset = excluded.last_offset, last_time_ms = excluded.last_time_ms
        WHERE c.last_offset < excluded.last_offset
), begun AS (
    INSERT INTO conversations AS c (name, kind, last_offset, last_time_ms)
    SELECT $6::text, 'room', $4::bigint, $9::bigint FROM event WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (name) DO UPDATE
        SET last_offset = greatest(c.last_offset, excluded.last_offset),
            last_time_ms = CASE WHEN c.last_offset < excluded.last_offset
                THEN excluded.last_time_ms ELSE c.last_time_ms END
    RETURNING conversation_id
), place AS MATERIALIZED (
    SELECT conversation_id FROM known UNION ALL SELECT conversation_id FROM begun
), before AS MATERIALIZED (
    SELECT user_name, role, joined_offset, number, read_offset FROM members
    WHERE conversation_id = (SELECT conversation_id FROM known)
), changed AS MATERIALIZED (
    SELECT user_name, CASE WHEN user_name = $11::text AND $12::text = 'role' THEN $13::text
               ELSE role END AS role, joined_offset, number, read_offset
    FROM before WHERE NOT (user_name = $11::text AND $12::text = 'remove')
    UNION ALL
    SELECT $11::text, $13::text, log_offset,
           (SELECT coalesce(max(number), 0) + 1 FROM before), log_offset - 1
    FROM event
    WHERE $12::text = 'add' AND NOT EXISTS (SELECT FROM before WHERE user_name = $11::text)
), after AS MATERIALIZED (
    -- Where there is no admin, the oldest member is one.
    SELECT user_name, CASE WHEN 1 = row_number() OVER (
                   ORDER BY role <> 'admin', joined_offset, number, user_name
               ) THEN 'admin' ELSE role END AS role, joined_offset, number, read_offset
    FROM changed
), written AS (
    INSERT INTO members (conversation_id, user_name, role, joined_offset, number, read_offset)
    SELECT conversation_id, user_name, after.role, after.joined_offset, after.number,
           after.read_offset
    FROM place CROSS JOIN after LEFT JOIN before USING (user_name)
    WHERE before.role IS DISTINCT FROM after.role
    ORDER BY user_name
    ON CONFLICT (conversation_id, user_name) DO UPDATE SET role = excluded.role
), removed AS (
    DELETE FROM members
    WHERE conversation_id = (SELECT conversation_id FROM known) AND user_name = $11::text COLLATE "C"
        AND $12::text = 'remove'
    RETURNING conversation_id, user_name, joined_offset
), noted AS (
    INSERT INTO former_members (conversation_id, user_name, joined_offset, left_offset)
    SELECT conversation_id, user_name, joined_offset, $4::bigint FROM removed
    ON CONFLICT (conversation_id, user_name, joined_offset) DO NOTHING
), -- Who is removed is owed nothing of the room any more. All but a few rows went in steps before: see
-- forget_room.sql.
forgotten AS (
    DELETE FROM pending WHERE ctid = ANY (ARRAY(
        SELECT p.place
        FROM devices AS d CROSS JOIN LATERAL (
            SELECT ctid AS place FROM pending AS p
            WHERE p.mailbox_id = d.mailbox_id
                AND p.conversation_id = (SELECT conversation_id FROM known) OFFSET 0
        ) AS p
        WHERE d.user_name = $11::text COLLATE "C" AND $12::text = 'remove'
            AND EXISTS (SELECT FROM before WHERE user_name = $11::text)))
), opened AS MATERIALIZED (
    SELECT owed.user_name, d.mailbox_id, d.device AS to_device
    FROM after AS owed LEFT JOIN LATERAL (
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
