-- The next devices in the order of their names: how long each was unseen, and whether it is owed more
-- than so many messages, which takes a look at no more than these.
SELECT d.user_name, d.device, d.since, coalesce(d.seen_at, 0),
       (extract(epoch FROM clock_timestamp()) * 1000)::bigint - coalesce(d.seen_at, 0),
       EXISTS (SELECT FROM pending AS p WHERE p.mailbox_id = d.mailbox_id OFFSET $3::int LIMIT 1)
FROM devices AS d
WHERE (d.user_name, d.device) > ($1::text COLLATE "C", $2::text COLLATE "C") AND d.device <> '*'
ORDER BY d.user_name, d.device LIMIT $4::int
