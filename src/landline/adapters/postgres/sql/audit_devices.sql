SELECT mailbox_id, user_name, device, since
FROM devices WHERE mailbox_id > $1::int ORDER BY mailbox_id LIMIT $2
