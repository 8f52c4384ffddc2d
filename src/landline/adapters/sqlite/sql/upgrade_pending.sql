-- What is still owed. Where a row does not say the conversation, its message does, which is read then only.
INSERT INTO pending (mailbox_id, log_offset, conversation_id, is_received)
SELECT b.mailbox_id, m.log_offset, c.conversation_id, 0
FROM deliveries_1 AS d
CROSS JOIN messages AS m ON m.log_offset = d.log_offset
CROSS JOIN conversations AS c ON c.name = coalesce(d.conversation, m.conversation)
CROSS JOIN devices AS b ON b.user_name = d.mailbox AND b.device = '*'
WHERE d.status = 'UNDELIVERED'
ORDER BY b.mailbox_id, m.log_offset
