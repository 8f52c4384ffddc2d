SELECT d.user_name, d.device, d.since, coalesce(d.seen_at, 0)
FROM unnest($1::text[]) AS asked (user_name) CROSS JOIN LATERAL (
    SELECT user_name, device, since, seen_at FROM devices AS d
    WHERE d.user_name = asked.user_name COLLATE "C" AND d.device <> '*' OFFSET 0
) AS d
