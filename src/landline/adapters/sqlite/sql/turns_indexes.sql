CREATE INDEX IF NOT EXISTS deliveries_turns ON deliveries (mailbox, conversation, log_offset)
    WHERE status = 'UNDELIVERED';
CREATE INDEX IF NOT EXISTS deliveries_without_conversation ON deliveries (message_id)
    WHERE status = 'UNDELIVERED' AND conversation IS NULL;
