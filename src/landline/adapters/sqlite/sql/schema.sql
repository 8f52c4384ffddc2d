-- The log and the store of the embedded server in one file, version 2: an append and an application
-- may share one commit, and so one fsync. With conversations.sql and revocations.sql this is all of a
-- new file.

-- CHAT-MESSAGES, with the one partition 0.
CREATE TABLE log (
    offset  INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    key     TEXT NOT NULL,
    value   BLOB NOT NULL
);

-- Every event of every conversation: facts, in the order of the log. A file that was of version 1
-- has them in the order of that version, and `log_offset` by an index.
CREATE TABLE messages (
    log_offset    INTEGER PRIMARY KEY,
    message_id    TEXT NOT NULL UNIQUE,
    conversation  TEXT NOT NULL,
    sender        TEXT NOT NULL,
    created_at    INTEGER NOT NULL,  -- the log's time, milliseconds since the Unix epoch
    log_partition INTEGER NOT NULL,
    kind          TEXT NOT NULL DEFAULT 'message',
    content       TEXT NOT NULL,
    data          TEXT
);

-- How far the writer has come: the next offset. Moves in the transaction that moves the rows.
CREATE TABLE applied (
    log_partition INTEGER PRIMARY KEY,
    next_offset   INTEGER NOT NULL
);

CREATE TABLE quarantine (
    log_partition INTEGER NOT NULL,
    log_offset    INTEGER NOT NULL,
    value         BLOB NOT NULL,
    reason        TEXT NOT NULL,
    PRIMARY KEY (log_partition, log_offset)
);
