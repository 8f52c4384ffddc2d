-- Columns of messages that a server of the version before does not bear: its statement for turns has
-- a `kind` of its own. So from here on servers must know migration 6, and one that does not refuses
-- to start. Rows that are there have the default without being written again.
ALTER TABLE messages
    ADD COLUMN IF NOT EXISTS kind text COLLATE "C" NOT NULL DEFAULT 'message',  -- member, room
    ADD COLUMN IF NOT EXISTS data text;  -- JSON: what the sender has attached, or what has changed
INSERT INTO landline_schema (version) VALUES (6) ON CONFLICT (version) DO NOTHING;
