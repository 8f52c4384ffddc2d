-- What a file of version 1 gets before conversations.sql. Messages are not written again: their columns
-- stay in the old order, and they are found by their offset through an index. To drop the old table
-- takes as long as all the rest, so it is renamed, and emptied while the server runs.
ALTER TABLE messages ADD COLUMN kind TEXT NOT NULL DEFAULT 'message';
ALTER TABLE messages ADD COLUMN data TEXT;
CREATE UNIQUE INDEX messages_by_offset ON messages (log_offset);
ALTER TABLE deliveries RENAME TO deliveries_1;
PRAGMA user_version = 2;
