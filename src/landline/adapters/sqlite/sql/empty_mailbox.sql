DELETE FROM pending WHERE mailbox_id = :mailbox
