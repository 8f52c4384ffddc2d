SELECT message_id, recipient, mailbox, status = 'DELIVERED', log_partition, log_offset
FROM deliveries WHERE (message_id, recipient COLLATE "C") > ($1::uuid, $2::text)
ORDER BY message_id, recipient COLLATE "C" LIMIT $3
