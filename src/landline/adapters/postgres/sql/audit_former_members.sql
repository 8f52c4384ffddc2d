SELECT conversation_id, user_name, joined_offset, left_offset
FROM former_members
WHERE (conversation_id, user_name, joined_offset) > ($1::int, $2::text, $3::bigint)
ORDER BY conversation_id, user_name, joined_offset LIMIT $4
