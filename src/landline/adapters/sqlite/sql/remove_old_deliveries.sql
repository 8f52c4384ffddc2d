DELETE FROM deliveries_1 WHERE (message_id, recipient) IN (
    SELECT message_id, recipient FROM deliveries_1 ORDER BY message_id, recipient LIMIT :limit)
