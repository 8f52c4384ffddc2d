DELETE FROM pending WHERE (mailbox_id, log_offset) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:rows))
