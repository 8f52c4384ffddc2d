DELETE FROM pending WHERE conversation_id = :conversation
    AND mailbox_id IN (SELECT mailbox_id FROM devices WHERE user_name = :user)
