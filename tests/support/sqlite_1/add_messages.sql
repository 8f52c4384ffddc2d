INSERT INTO messages
    (message_id, conversation, sender, content, created_at, log_partition, log_offset)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), json_extract(value, '$[4]'), ?,
       json_extract(value, '$[5]')
FROM json_each(?) WHERE true
ON CONFLICT (message_id) DO UPDATE
    SET log_offset = excluded.log_offset, created_at = excluded.created_at
    WHERE excluded.log_offset < messages.log_offset
