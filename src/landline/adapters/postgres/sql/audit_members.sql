SELECT conversation_id, user_name, role, joined_offset, number, read_offset
FROM members WHERE (conversation_id, user_name) > ($1::int, $2::text)
ORDER BY conversation_id, user_name LIMIT $3
