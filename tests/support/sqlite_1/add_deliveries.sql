INSERT INTO deliveries (message_id, recipient, mailbox, status, log_offset, conversation)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[1]'),
       'UNDELIVERED', json_extract(value, '$[2]'), json_extract(value, '$[3]')
FROM json_each(?) WHERE true
ON CONFLICT (message_id, recipient) DO UPDATE
    SET log_offset = excluded.log_offset, conversation = excluded.conversation
    WHERE deliveries.log_offset IS NULL OR excluded.log_offset < deliveries.log_offset
