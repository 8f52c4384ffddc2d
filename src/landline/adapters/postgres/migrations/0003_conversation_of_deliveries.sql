-- So that the conversations of a mailbox can take turns (0004). Nobody waits for this: a column that
-- may be null costs no row anything. Servers of the version before leave it out of what they write;
-- a mailbox with such a row is read in the order of the log until that row is acknowledged.
ALTER TABLE deliveries ADD COLUMN conversation text COLLATE "C";
