-- The oldest member, where no member is one.
UPDATE members SET role = 'admin'
WHERE conversation_id = :conversation
    AND user_name = (
        SELECT user_name FROM members WHERE conversation_id = :conversation
        ORDER BY joined_offset, number, user_name LIMIT 1)
    AND NOT EXISTS (
        SELECT 1 FROM members WHERE conversation_id = :conversation AND role = 'admin')
