-- landline: outside a transaction
--
-- What is owed is found by its place in the log. The timeline of a conversation has the sender,
-- since what is unread is counted there, and one's own is not.
CREATE INDEX CONCURRENTLY IF NOT EXISTS messages_position
    ON messages (log_partition, log_offset);

CREATE INDEX CONCURRENTLY IF NOT EXISTS messages_timeline
    ON messages (conversation COLLATE "C", log_offset) INCLUDE (sender);
