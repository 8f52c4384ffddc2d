-- Users who are no more. What they have said below `before`, an offset for each partition, is shown
-- under another name, and what was owed to their default mailbox there is not owed any more. That is
-- said by the product, not by the log, so it is written by itself.
CREATE TABLE ended_users (
    user_name text COLLATE "C" PRIMARY KEY,
    name      text NOT NULL,
    before    bigint[] NOT NULL
);
