SELECT conversation_id, user_name, role, joined_offset, number, read_offset
FROM members WHERE (conversation_id, user_name) > (?, ?)
ORDER BY conversation_id, user_name LIMIT ?
