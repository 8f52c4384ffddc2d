-- What no mailbox of the user has received or still has is left to the default mailbox.
INSERT INTO pending (mailbox_id, log_offset, conversation_id, is_received)
SELECT home.mailbox_id, p.log_offset, p.conversation_id, 0
FROM pending AS p
CROSS JOIN devices AS home ON home.user_name = :user AND home.device = '*'
WHERE p.mailbox_id = :mailbox AND NOT p.is_received
    AND NOT EXISTS (
        SELECT 1 FROM devices AS d
        JOIN pending AS o ON o.mailbox_id = d.mailbox_id AND o.log_offset = p.log_offset
        WHERE d.user_name = :user AND d.mailbox_id <> :mailbox)
