INSERT INTO former_members (conversation_id, user_name, joined_offset, left_offset)
SELECT conversation_id, user_name, joined_offset, :offset FROM members
WHERE conversation_id = :conversation AND user_name = :user
