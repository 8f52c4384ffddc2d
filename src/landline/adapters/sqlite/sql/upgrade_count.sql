-- Messages of version 1 were never removed, so the last row's number counts them.
SELECT coalesce(max(rowid), 0) FROM messages
