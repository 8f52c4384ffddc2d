INSERT INTO members (conversation_id, user_name, role, joined_offset, number, read_offset)
SELECT :conversation, :user, :role, :offset,
       (SELECT coalesce(max(number), 0) + 1 FROM members WHERE conversation_id = :conversation),
       :offset - 1
WHERE true
ON CONFLICT (conversation_id, user_name) DO NOTHING
