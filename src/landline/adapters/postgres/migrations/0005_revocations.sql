-- Whose sessions were to end. One row for each user of whom that was ever asked; none is deleted,
-- for a server needs no right to. Servers of the version before do not know it and close nobody.
CREATE TABLE revocations (
    user_name     text COLLATE "C" PRIMARY KEY,
    revoked_at    bigint NOT NULL UNIQUE,  -- milliseconds since the Unix epoch, in the order of commits
    refused_until bigint  -- as well; null: new sessions are not refused
);

-- What a server reads when it starts.
CREATE INDEX revocations_refused ON revocations (refused_until) WHERE refused_until IS NOT NULL;
