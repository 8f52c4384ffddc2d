-- landline: outside a transaction
--
-- What finds rows by text, in the order of the bytes. A new database has both under these names
-- from the start (0001) and nothing is done here. In an older one the columns keep the collation
-- of the database: to change it would build every index anew while nobody may read or write.
--
-- The indexes that were there stay for the servers of the version before, whose pages say nothing
-- of a collation. Their ON CONFLICT (message_id, recipient) takes whatever unique index there is.
-- What is equal is the same in both collations: the same bytes.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS deliveries_by_recipient
    ON deliveries (message_id, recipient COLLATE "C");

CREATE INDEX CONCURRENTLY IF NOT EXISTS deliveries_owed
    ON deliveries (mailbox COLLATE "C", log_partition, log_offset)
    INCLUDE (message_id) WHERE status = 'UNDELIVERED';
