-- Rooms that were made, each with its members in the order in which they joined, and `applied`, in rows
-- without a name.
SELECT NULL AS name, NULL AS title, NULL AS history, NULL::record[] AS members, log_partition, next_offset
FROM applied
UNION ALL
SELECT c.name, title, history, members, NULL, NULL
FROM unnest($1::text[]) AS asked (name) CROSS JOIN LATERAL (
    SELECT conversation_id, name, title, history FROM conversations
    WHERE name = asked.name COLLATE "C" AND kind = 'room' AND history IS NOT NULL OFFSET 0
) AS c CROSS JOIN LATERAL (
    SELECT array_agg((user_name, role, joined_offset) ORDER BY joined_offset, number, user_name) AS members
    FROM members WHERE conversation_id = c.conversation_id OFFSET 0
) AS m
