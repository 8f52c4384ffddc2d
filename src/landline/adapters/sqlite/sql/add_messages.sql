INSERT INTO messages (log_offset, message_id, conversation, sender, content, created_at, kind, data,
                      log_partition)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
       json_extract(value, '$[6]'), json_extract(value, '$[7]'), :partition
FROM json_each(:messages) WHERE true
ON CONFLICT (message_id) DO NOTHING
