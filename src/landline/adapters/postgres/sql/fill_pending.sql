-- What is owed, at the place of its message. A conversation or mailbox that were missing would be
-- an error here, never a row less. In the order of both indexes, which are then filled at their end.
INSERT INTO pending (mailbox_id, log_partition, log_offset, conversation_id, is_received)
SELECT m.mailbox_id, t.log_partition, t.log_offset, c.conversation_id, false
FROM deliveries AS d JOIN messages AS t USING (message_id)
LEFT JOIN conversations AS c ON c.name = t.conversation COLLATE "C"
LEFT JOIN devices AS m ON m.user_name = d.mailbox COLLATE "C" AND m.device = '*'
WHERE d.status = 'UNDELIVERED'
ORDER BY m.mailbox_id, t.log_partition, t.log_offset
ON CONFLICT (mailbox_id, log_partition, log_offset) DO NOTHING
