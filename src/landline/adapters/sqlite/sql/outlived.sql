-- The next devices in the order of their names: how long each was unseen, and whether it is owed more
-- than so many messages, which takes a look at no more than these.
SELECT d.user_name, d.device, d.seen_at,
       CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) - d.seen_at,
       EXISTS (SELECT 1 FROM pending WHERE mailbox_id = d.mailbox_id LIMIT 1 OFFSET :owed)
FROM devices AS d
WHERE (d.user_name, d.device) > (:user, :device) AND d.device <> '*'
ORDER BY d.user_name, d.device LIMIT :limit
