UPDATE devices SET seen_at = CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
WHERE (user_name, device) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:mailboxes))
