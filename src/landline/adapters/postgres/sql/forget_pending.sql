-- Removes up to $2 rows that the default mailbox of the user $1, who is no more, was owed until then.
-- Returns how many there were.
WITH rows AS MATERIALIZED (
    SELECT p.place
    FROM (
        SELECT before FROM ended_users WHERE user_name = $1::text COLLATE "C" OFFSET 0
    ) AS e CROSS JOIN LATERAL (
        SELECT mailbox_id FROM devices
        WHERE user_name = $1::text COLLATE "C" AND device = '*' OFFSET 0
    ) AS d CROSS JOIN LATERAL (
        SELECT ctid AS place FROM pending AS p
        WHERE p.mailbox_id = d.mailbox_id AND p.log_offset < e.before[p.log_partition + 1]
        ORDER BY p.log_partition, p.log_offset LIMIT $2::int
    ) AS p
), gone AS (
    DELETE FROM pending WHERE ctid = ANY (ARRAY(SELECT place FROM rows))
)
SELECT count(*) FROM rows
