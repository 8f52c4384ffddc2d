-- Whose sessions were to end, one row for each user of whom that was ever asked. Both times are
-- milliseconds since the Unix epoch. A file that is older gets the table when it is opened.
CREATE TABLE IF NOT EXISTS revocations (
    user_name     TEXT PRIMARY KEY,
    revoked_at    INTEGER NOT NULL UNIQUE,
    refused_until INTEGER
);
