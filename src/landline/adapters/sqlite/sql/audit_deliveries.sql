SELECT message_id, recipient, mailbox, status = 'DELIVERED', log_offset
FROM deliveries WHERE (message_id, recipient) > (?, ?) ORDER BY message_id, recipient LIMIT ?
