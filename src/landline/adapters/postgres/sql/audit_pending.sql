SELECT mailbox_id, log_partition, log_offset, conversation_id, is_received
FROM pending WHERE (mailbox_id, log_partition, log_offset) > ($1::int, $2::int, $3::bigint)
ORDER BY mailbox_id, log_partition, log_offset LIMIT $4
