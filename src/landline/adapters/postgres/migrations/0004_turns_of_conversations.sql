-- landline: outside a transaction
--
-- What is pending has its conversation, and is found by it. The second index holds the rows that
-- servers of the version before write meanwhile, and nothing when they are gone.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deliveries_without_conversation
    ON deliveries (mailbox COLLATE "C") WHERE status = 'UNDELIVERED' AND conversation IS NULL;

-- A thousand rows at a time, and none that a writer is just changing: nobody waits for long.
DO $$
BEGIN
    LOOP
        UPDATE deliveries AS d SET conversation = coalesce(
            (SELECT m.conversation FROM messages AS m WHERE m.message_id = d.message_id), '')
        WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM deliveries
            WHERE status = 'UNDELIVERED' AND conversation IS NULL
            LIMIT 1000 FOR UPDATE SKIP LOCKED));
        EXIT WHEN NOT FOUND;
        COMMIT;
    END LOOP;
END $$;

CREATE INDEX CONCURRENTLY IF NOT EXISTS deliveries_turns
    ON deliveries (mailbox COLLATE "C", conversation, log_partition, log_offset)
    INCLUDE (message_id) WHERE status = 'UNDELIVERED';
