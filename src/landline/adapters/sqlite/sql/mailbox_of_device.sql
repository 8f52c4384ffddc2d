SELECT mailbox_id FROM devices WHERE user_name = :user AND device = :device
