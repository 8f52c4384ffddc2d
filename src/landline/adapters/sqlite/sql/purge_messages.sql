DELETE FROM messages WHERE log_offset IN (SELECT value FROM json_each(:offsets))
