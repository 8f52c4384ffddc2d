-- Default mailboxes of those who are owed something and have none.
INSERT INTO devices (user_name, device)
SELECT DISTINCT mailbox COLLATE "C", '*' FROM deliveries AS d
WHERE status = 'UNDELIVERED' AND NOT EXISTS (
    SELECT FROM devices AS m WHERE m.user_name = d.mailbox COLLATE "C" AND m.device = '*')
