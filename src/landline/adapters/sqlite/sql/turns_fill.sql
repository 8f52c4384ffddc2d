UPDATE deliveries SET conversation = (
    SELECT m.conversation FROM messages AS m WHERE m.message_id = deliveries.message_id)
WHERE status = 'UNDELIVERED' AND conversation IS NULL
