-- Enters conversations with their last message, and those who are in them. What they were sent they
-- have seen, as far as it is not pending: that comes at the end.
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::boolean[], $3::bigint[], $4::bigint[])
        AS c (name, is_room, last_offset, last_time_ms)
), known AS MATERIALIZED (
    SELECT given.*, c.conversation_id
    FROM given LEFT JOIN LATERAL (
        SELECT conversation_id FROM conversations WHERE name = given.name COLLATE "C" OFFSET 0
    ) AS c ON true
), brought_on AS (
    INSERT INTO conversations AS c (conversation_id, name, kind, last_offset, last_time_ms)
    SELECT conversation_id, name, '', last_offset, last_time_ms
    FROM known WHERE conversation_id IS NOT NULL
    ON CONFLICT (name) DO UPDATE
        SET last_offset = excluded.last_offset, last_time_ms = excluded.last_time_ms
        WHERE c.last_offset < excluded.last_offset
), begun AS (
    INSERT INTO conversations (name, kind, last_offset, last_time_ms)
    SELECT name, CASE WHEN is_room THEN 'room' ELSE 'direct' END, last_offset, last_time_ms
    FROM known WHERE conversation_id IS NULL
    RETURNING conversation_id, name
), joined AS (
    INSERT INTO members AS m
        (conversation_id, user_name, role, joined_offset, number, read_offset)
    SELECT coalesce(known.conversation_id, begun.conversation_id), user_name, 'member', 0, number,
           known.last_offset
    FROM unnest($5::text[], $6::text[], $7::int[]) AS m (name, user_name, number)
    JOIN known USING (name) LEFT JOIN begun USING (name)
    ON CONFLICT (conversation_id, user_name) DO UPDATE SET read_offset = excluded.read_offset
        WHERE m.read_offset < excluded.read_offset
)
INSERT INTO devices (user_name, device)
SELECT DISTINCT user_name, '*' FROM unnest($6::text[]) AS u (user_name) LEFT JOIN LATERAL (
    SELECT mailbox_id FROM devices
    WHERE user_name = u.user_name COLLATE "C" AND device = '*' OFFSET 0
) AS d ON true
WHERE mailbox_id IS NULL
ON CONFLICT (user_name, device) DO NOTHING
