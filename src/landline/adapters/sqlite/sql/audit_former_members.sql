SELECT conversation_id, user_name, joined_offset, left_offset
FROM former_members WHERE (conversation_id, user_name, joined_offset) > (?, ?, ?)
ORDER BY conversation_id, user_name, joined_offset LIMIT ?
