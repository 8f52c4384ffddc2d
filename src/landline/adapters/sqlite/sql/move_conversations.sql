-- An event that was missing may be older than the last one.
UPDATE conversations SET last_offset = moved.last_offset, last_time_ms = moved.last_time_ms
FROM (SELECT json_extract(value, '$[0]') AS conversation_id,
             json_extract(value, '$[1]') AS last_offset,
             json_extract(value, '$[2]') AS last_time_ms
      FROM json_each(:conversations)) AS moved
WHERE conversations.conversation_id = moved.conversation_id
    AND conversations.last_offset < moved.last_offset
