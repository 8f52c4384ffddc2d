DELETE FROM devices WHERE mailbox_id = :mailbox
