SELECT conversation_id, name, kind, history, title, last_offset, last_time_ms
FROM conversations WHERE conversation_id > ? ORDER BY conversation_id LIMIT ?
