SELECT mailbox_id, log_offset, conversation_id, is_received
FROM pending WHERE (mailbox_id, log_offset) > (?, ?) ORDER BY mailbox_id, log_offset LIMIT ?
