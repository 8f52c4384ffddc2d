-- That a default mailbox is open, nobody says in the log: it follows.
SELECT mailbox_id, user_name, device, CASE WHEN device <> '*' THEN since END
FROM devices WHERE mailbox_id > ? ORDER BY mailbox_id LIMIT ?
