-- Rooms that were made, each with its members in the order in which they joined, and `applied`, in rows
-- without a name.
SELECT NULL AS name, NULL AS title, NULL AS history, NULL::text[] AS users, NULL::text[] AS roles,
       log_partition, next_offset
FROM applied
UNION ALL
SELECT c.name, title, history, users, roles, NULL, NULL
FROM unnest($1::text[]) AS asked (name) CROSS JOIN LATERAL (
    SELECT conversation_id, name, title, history FROM conversations
    WHERE name = asked.name COLLATE "C" AND kind = 'room' AND history IS NOT NULL OFFSET 0
) AS c CROSS JOIN LATERAL (
    SELECT array_agg(user_name ORDER BY joined_offset, number, user_name) AS users,
           array_agg(role ORDER BY joined_offset, number, user_name) AS roles
    FROM members WHERE conversation_id = c.conversation_id OFFSET 0
) AS m
