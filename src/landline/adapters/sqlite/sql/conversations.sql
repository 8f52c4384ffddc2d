-- What version 2 has beside the tables of version 1: who is in which conversation, and which mailbox is
-- owed what. The log has one partition here, so an offset alone is a place in it.

-- The timeline of a conversation. Who has sent it is in the index: nobody's own message is unread.
CREATE INDEX messages_timeline ON messages (conversation, log_offset, sender);

-- `last_offset` and `last_time_ms` are those of its last event. A room that nobody has made has no
-- members; whoever writes to it leaves its row.
CREATE TABLE conversations (
    conversation_id INTEGER PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    kind            TEXT NOT NULL CHECK (kind IN ('direct', 'room')),
    history         TEXT CHECK (history IN ('all', 'joined')),
    title           TEXT,
    last_offset     INTEGER NOT NULL,
    last_time_ms    INTEGER NOT NULL
);

-- `number` says who came first of those who joined with the same event.
CREATE TABLE members (
    conversation_id INTEGER NOT NULL,
    user_name       TEXT NOT NULL,
    role            TEXT NOT NULL CHECK (role IN ('admin', 'member')),
    joined_offset   INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    read_offset     INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_name)
) WITHOUT ROWID;
CREATE INDEX members_of_users ON members (user_name);

CREATE TABLE former_members (
    conversation_id INTEGER NOT NULL,
    user_name       TEXT NOT NULL,
    joined_offset   INTEGER NOT NULL,
    left_offset     INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_name, joined_offset)
) WITHOUT ROWID;
CREATE INDEX former_members_of_users ON former_members (user_name);

-- Mailboxes. The default mailbox of a user has the device '*', which no device can be called. `since`:
-- the offset after which the mailbox gets what is new; null: it does not. Of a device there is a row
-- for as long as it is open; the row of a default mailbox stays.
CREATE TABLE devices (
    mailbox_id INTEGER PRIMARY KEY,
    user_name  TEXT NOT NULL,
    device     TEXT NOT NULL,
    since      INTEGER,
    seen_at    INTEGER,  -- milliseconds since the Unix epoch
    UNIQUE (user_name, device)
);

-- What a mailbox is owed: a row goes when it is acknowledged. `is_received`: another mailbox of the
-- same user has it, or the user has sent it.
CREATE TABLE pending (
    mailbox_id      INTEGER NOT NULL,
    log_offset      INTEGER NOT NULL,
    conversation_id INTEGER NOT NULL,
    is_received     INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, log_offset)
) WITHOUT ROWID;
-- So that each conversation has its turn when a mailbox is owed much.
CREATE INDEX pending_turns ON pending (mailbox_id, conversation_id, log_offset);
-- Whether anybody is still owed a message: asked before it is purged.
CREATE INDEX pending_messages ON pending (log_offset);

-- Below which offset messages may be gone, because they were old and owed to nobody.
CREATE TABLE purged (
    log_partition INTEGER PRIMARY KEY,
    before_offset INTEGER NOT NULL
);

-- Users who are no more. What they have said below the offset is shown under another name, and what
-- was owed to their default mailbox there is not owed any more. That is said by the product, not by
-- the log.
CREATE TABLE ended_users (
    user_name     TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    before_offset INTEGER NOT NULL
) WITHOUT ROWID;

-- The timeline as everybody is shown it.
CREATE VIEW shown_messages AS
SELECT m.message_id, m.conversation, m.log_partition, m.log_offset, m.kind, m.content, m.data,
       m.created_at, coalesce((
           SELECT e.name FROM ended_users AS e
           WHERE e.user_name = m.sender AND e.before_offset > m.log_offset AND m.kind = 'message'
       ), m.sender) AS sender
FROM messages AS m;

-- Whether a message was received by those who are to have it: in a room its members of today. Of who
-- is no more nobody can say it.
CREATE VIEW message_status (message_id, recipient, status) AS
SELECT m.message_id, r.user_name, CASE WHEN EXISTS (
    SELECT 1 FROM devices AS d
    JOIN pending AS p ON p.mailbox_id = d.mailbox_id AND p.log_offset = m.log_offset
    WHERE d.user_name = r.user_name AND NOT p.is_received
) THEN 'UNDELIVERED' ELSE 'DELIVERED' END
FROM messages AS m
JOIN conversations AS c ON c.name = m.conversation
JOIN members AS r ON r.conversation_id = c.conversation_id
WHERE m.kind = 'message' AND r.joined_offset <= m.log_offset AND (
    r.user_name <> m.sender
    OR c.kind = 'direct' AND NOT EXISTS (  -- with oneself
        SELECT 1 FROM members AS o
        WHERE o.conversation_id = c.conversation_id AND o.user_name <> m.sender)
) AND NOT EXISTS (
    SELECT 1 FROM ended_users AS e
    WHERE e.user_name = r.user_name AND e.before_offset > m.log_offset);
