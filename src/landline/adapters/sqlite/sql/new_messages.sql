-- Of [offset, id, ...] the offsets of those that stand where they were just added: the others are
-- repeats of what was known.
SELECT json_group_array(m.log_offset)
FROM json_each(:messages) CROSS JOIN messages AS m ON m.message_id = json_extract(value, '$[1]')
WHERE m.log_offset = json_extract(value, '$[0]')
