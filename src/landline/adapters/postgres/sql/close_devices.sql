-- Applies batches of different partitions in each of which a device ends, and returns the
-- partitions that moved. See apply.sql. A device usually ends in all of them at once.
--
-- A record ends what began before it and nothing else: where the log is read again, the device of
-- today may have begun since.
WITH batch AS (
    SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
        AS b (log_partition, first_offset, next_offset, user_name, device, log_offset)
), moved AS (
    INSERT INTO applied AS a (log_partition, next_offset)
    SELECT b.log_partition, b.next_offset
    FROM batch AS b LEFT JOIN applied AS known USING (log_partition)
    WHERE b.first_offset = coalesce(
        known.next_offset, (SELECT epoch::bigint << 40 FROM log_identity), 0)
    ORDER BY b.log_partition
    ON CONFLICT (log_partition) DO UPDATE SET next_offset = excluded.next_offset
        WHERE a.next_offset = (
            SELECT b.first_offset FROM batch AS b WHERE b.log_partition = excluded.log_partition)
    RETURNING log_partition
), change AS MATERIALIZED (
    SELECT user_name, device, array_agg(log_partition) AS partitions,
           array_agg(log_offset) AS offsets
    FROM batch JOIN moved USING (log_partition)
    GROUP BY user_name, device ORDER BY user_name, device
), -- Under a lock: of two writers that end it in the last two partitions, the second one sees that
-- it is open nowhere now.
locked AS MATERIALIZED (
    SELECT d.mailbox_id, d.user_name, d.device, d.since, change.partitions, change.offsets
    FROM change CROSS JOIN LATERAL (
        SELECT mailbox_id, user_name, device, since FROM devices AS d
        WHERE d.user_name = change.user_name COLLATE "C" AND d.device = change.device COLLATE "C"
        FOR UPDATE
    ) AS d
), device AS MATERIALIZED (
    SELECT mailbox_id, user_name, device, since, ARRAY(
               SELECT log_partition
               FROM unnest(partitions, offsets) AS e (log_partition, log_offset)
               WHERE since[log_partition + 1] < log_offset
           ) AS partitions
    FROM locked
), closed AS MATERIALIZED (
    SELECT mailbox_id, user_name, device, ARRAY(
               SELECT CASE WHEN i - 1 <> ALL (partitions) THEN since[i] END
               FROM generate_subscripts(since, 1) AS i ORDER BY i
           ) AS since
    FROM device WHERE partitions <> '{}'
), kept AS (
    INSERT INTO devices (mailbox_id, user_name, device, since)
    SELECT mailbox_id, user_name, device, since FROM closed
    WHERE EXISTS (SELECT FROM unnest(since) AS s (at) WHERE at IS NOT NULL)
    ORDER BY user_name, device
    ON CONFLICT (user_name, device) DO UPDATE SET since = excluded.since
), gone AS (
    DELETE FROM devices WHERE mailbox_id = ANY (ARRAY(
        SELECT mailbox_id FROM closed
        WHERE NOT EXISTS (SELECT FROM unnest(since) AS s (at) WHERE at IS NOT NULL)))
), -- What it was owed there, and is in no other mailbox of the user, goes back to the default one. All
-- but a few rows went in steps before: see hand_back.sql. `others`: those mailboxes that are open.
ended AS MATERIALIZED (
    SELECT device.user_name, mailbox_id, log_partition, ARRAY(
               SELECT o.mailbox_id FROM devices AS o
               WHERE o.user_name = device.user_name COLLATE "C"
                   AND o.mailbox_id <> device.mailbox_id AND o.since[log_partition + 1] IS NOT NULL
           ) AS others
    FROM device CROSS JOIN unnest(partitions) AS p (log_partition)
), rows AS MATERIALIZED (
    SELECT ended.*, place, log_offset, conversation_id, is_received
    FROM ended CROSS JOIN LATERAL (
        SELECT ctid AS place, log_offset, conversation_id, is_received FROM pending AS p
        WHERE p.mailbox_id = ended.mailbox_id AND p.log_partition = ended.log_partition OFFSET 0
    ) AS p
), forgotten AS (
    DELETE FROM pending WHERE ctid = ANY (ARRAY(SELECT place FROM rows))
), given_back AS (
    INSERT INTO pending (mailbox_id, log_partition, log_offset, conversation_id, is_received)
    SELECT d.mailbox_id, log_partition, log_offset, conversation_id, false
    FROM rows CROSS JOIN LATERAL (
        SELECT mailbox_id FROM devices
        WHERE user_name = rows.user_name COLLATE "C" AND device = '*' OFFSET 0
    ) AS d
    WHERE NOT is_received AND NOT EXISTS (
        SELECT FROM pending AS p
        WHERE p.mailbox_id = ANY (others) AND p.log_partition = rows.log_partition
            AND p.log_offset = rows.log_offset OFFSET 0)
    ORDER BY d.mailbox_id, log_partition, log_offset
    ON CONFLICT (mailbox_id, log_partition, log_offset) DO NOTHING
)
SELECT log_partition FROM moved
