-- Schema of landline.db, version 1. The log and the store of the embedded server in one file:
-- an append and an application may share one commit, and so one fsync.

-- CHAT-MESSAGES, with the one partition 0.
CREATE TABLE log (
    offset  INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    key     TEXT NOT NULL,
    value   BLOB NOT NULL
);

-- Facts. A row changes only when the same message turns up at a lower position.
CREATE TABLE messages (
    message_id    TEXT NOT NULL UNIQUE,
    conversation  TEXT NOT NULL,
    sender        TEXT NOT NULL,
    content       TEXT NOT NULL,
    created_at    INTEGER NOT NULL,  -- the log's time, milliseconds since the Unix epoch
    log_partition INTEGER NOT NULL,
    log_offset    INTEGER NOT NULL
);

-- Who is owed what. `log_offset` and `conversation` are null while only the receipt is known.
CREATE TABLE deliveries (
    message_id   TEXT NOT NULL,
    recipient    TEXT NOT NULL,
    mailbox      TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('UNDELIVERED', 'DELIVERED')),
    delivered_at TEXT,
    log_offset   INTEGER,
    conversation TEXT,
    PRIMARY KEY (message_id, recipient)
) WITHOUT ROWID;

-- Only the pending part is indexed: what was delivered long ago costs a reader nothing.
CREATE INDEX deliveries_pending ON deliveries (mailbox, log_offset)
    WHERE status = 'UNDELIVERED';

-- The same, by conversation: so that each has its turn when a mailbox is owed much. A file that is
-- older gets the column and both indexes when it is opened, and keeps its version: the Landline
-- before this one may open it again, and leaves the conversation out of what it writes. What it
-- left out is in the second index until the next start here.
CREATE INDEX deliveries_turns ON deliveries (mailbox, conversation, log_offset)
    WHERE status = 'UNDELIVERED';
CREATE INDEX deliveries_without_conversation ON deliveries (message_id)
    WHERE status = 'UNDELIVERED' AND conversation IS NULL;

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
