-- Who was named in messages of a conversation and may not be in it. No server writes such messages,
-- but a log may hold them. Before one of them is purged it is asked whether they are owed it.
CREATE TABLE outsiders (
    conversation_id integer NOT NULL,
    user_name       text COLLATE "C" NOT NULL,
    PRIMARY KEY (conversation_id, user_name)
);
