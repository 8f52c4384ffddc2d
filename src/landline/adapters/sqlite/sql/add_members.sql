-- [conversation, user, role, offset of joining, number, offset read].
INSERT INTO members (conversation_id, user_name, role, joined_offset, number, read_offset)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]')
FROM json_each(:members) WHERE true
ON CONFLICT (conversation_id, user_name) DO NOTHING
