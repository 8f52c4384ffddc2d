-- A database as the version before makes it, with its two tables of versions.

-- Text is compared by bytes: in the collation of a database the order is that of the operating
-- system's library, and an upgrade of it may change it under the indexes. Databases that were made
-- before have columns without it, and their indexes from 0002.

-- Facts. A row changes only when the same message turns up at a lower position.
CREATE TABLE messages (
    message_id    uuid PRIMARY KEY,
    conversation  text COLLATE "C" NOT NULL,
    sender        text COLLATE "C" NOT NULL,
    content       text NOT NULL,
    created_at    timestamptz NOT NULL,  -- the log's time, in whole milliseconds
    log_partition integer NOT NULL,
    log_offset    bigint NOT NULL
);

-- Who is owed what. The position is null while only a receipt is known, perhaps for ever: who was
-- never a recipient is owed nothing. The status is derived and cannot disagree with the receipt.
-- `delivered_at` is text as the log has it: whatever the log's validator lets through can be kept.
--
-- Each row is written twice, and the second time (the receipt) is never a heap-only update, since
-- the status decides about a place in the index below. So the default fillfactor stays: free room
-- would be wasted. What counts is that dead versions go soon, because replay walks over them: at
-- a fiftieth of the rows, not at the default's fifth.
CREATE TABLE deliveries (
    message_id    uuid NOT NULL,
    recipient     text COLLATE "C" NOT NULL,
    mailbox       text COLLATE "C" NOT NULL,
    status        text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN delivered_at IS NULL THEN 'UNDELIVERED' ELSE 'DELIVERED' END
    ) STORED,
    delivered_at  text COLLATE "C",  -- RFC 3339, UTC: in this collation text sorts by time
    log_partition integer,
    log_offset    bigint,
    CONSTRAINT deliveries_by_recipient PRIMARY KEY (message_id, recipient),
    CHECK (delivered_at IS NOT NULL OR (log_partition IS NOT NULL AND log_offset IS NOT NULL))
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);

-- Only the pending part is indexed: what was delivered long ago costs a reader nothing.
CREATE INDEX deliveries_owed ON deliveries (mailbox, log_partition, log_offset)
    INCLUDE (message_id) WHERE status = 'UNDELIVERED';

-- How far the writer has come: the next offset. Moves in the statement that moves the rows, many
-- times a second in few rows. A page that is mostly empty keeps those updates heap-only, so that
-- the next visitor clears up after the last one; vacuum comes every thousand for the rest.
CREATE TABLE applied (
    log_partition integer PRIMARY KEY,
    next_offset   bigint NOT NULL
) WITH (
    fillfactor = 10,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
);

CREATE TABLE quarantine (
    log_partition  integer NOT NULL,
    log_offset     bigint NOT NULL,
    value          bytea NOT NULL,
    reason         text NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (log_partition, log_offset)
);

-- Which log these rows were applied from: one row.
CREATE TABLE log_identity (
    is_only    boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    cluster_id text NOT NULL,
    topic_id   text NOT NULL,
    partitions integer NOT NULL CHECK (partitions > 0),
    epoch      integer NOT NULL CHECK (epoch >= 0)
);

ALTER TABLE deliveries ADD COLUMN conversation text COLLATE "C";

CREATE INDEX deliveries_without_conversation
    ON deliveries (mailbox COLLATE "C") WHERE status = 'UNDELIVERED' AND conversation IS NULL;

CREATE INDEX deliveries_turns
    ON deliveries (mailbox COLLATE "C", conversation, log_partition, log_offset)
    INCLUDE (message_id) WHERE status = 'UNDELIVERED';

-- Whose sessions were to end. One row for each user of whom that was ever asked; none is deleted,
-- for a server needs no right to. Servers of the version before do not know it and close nobody.
CREATE TABLE revocations (
    user_name     text COLLATE "C" PRIMARY KEY,
    revoked_at    bigint NOT NULL UNIQUE,  -- milliseconds since the Unix epoch, in the order of commits
    refused_until bigint  -- as well; null: new sessions are not refused
);

-- What a server reads when it starts.
CREATE INDEX revocations_refused ON revocations (refused_until) WHERE refused_until IS NOT NULL;

CREATE TABLE landline_schema (
    version    integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO landline_schema (version) VALUES (1);

CREATE TABLE landline_migrations (
    number     integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON landline_migrations TO PUBLIC;
INSERT INTO landline_migrations SELECT generate_series(1, 5);
