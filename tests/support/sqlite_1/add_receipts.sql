INSERT INTO deliveries (message_id, recipient, mailbox, status, delivered_at)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[1]'),
       'DELIVERED', json_extract(value, '$[2]')
FROM json_each(?) WHERE true
ON CONFLICT (message_id, recipient) DO UPDATE
    SET status = 'DELIVERED', delivered_at = excluded.delivered_at
    WHERE deliveries.delivered_at IS NULL OR excluded.delivered_at < deliveries.delivered_at
