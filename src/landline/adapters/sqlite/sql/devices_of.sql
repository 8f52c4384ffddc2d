SELECT d.user_name, d.device, d.seen_at
FROM json_each(:users) AS asked
CROSS JOIN devices AS d ON d.user_name = asked.value AND d.device <> '*'
