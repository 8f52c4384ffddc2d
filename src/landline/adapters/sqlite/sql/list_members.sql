-- The members of a conversation as they joined, [[user, role, offset that was read], ...]; no row where the
-- user who asks is none of them, or there is no such conversation.
SELECT (
    SELECT json_group_array(json_array(
        user_name, CASE c.kind WHEN 'room' THEN role END, read_offset))
    FROM (
        SELECT w.user_name, w.role, w.read_offset FROM members AS w
        WHERE w.conversation_id = c.conversation_id ORDER BY w.joined_offset, w.number
    )
)
FROM conversations AS c
CROSS JOIN members AS o ON o.conversation_id = c.conversation_id AND o.user_name = :user
WHERE c.name = :conversation
