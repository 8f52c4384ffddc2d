-- In the order in which they are given, so that two servers lock the rows in the same one.
WITH seen AS MATERIALIZED (
    SELECT d.mailbox_id
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (user_name, device, number)
    CROSS JOIN LATERAL (
        SELECT mailbox_id FROM devices AS d
        WHERE d.user_name = asked.user_name COLLATE "C" AND d.device = asked.device COLLATE "C"
        FOR UPDATE
    ) AS d
    ORDER BY number
)
UPDATE devices AS d SET seen_at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
FROM seen WHERE d.mailbox_id = seen.mailbox_id
