SELECT format = 1 AND NOT EXISTS (SELECT FROM log_identity) AND NOT EXISTS (SELECT FROM messages)
FROM record_format
