-- Applies batches of different partitions in each of which a device begins, and returns the
-- partitions that moved. See apply.sql. A device usually begins in all of them at once.
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
    SELECT batch.* FROM batch JOIN moved USING (log_partition)
), begun AS MATERIALIZED (
    SELECT user_name, device, ARRAY(
               SELECT change.log_offset
               FROM generate_series(0, last_partition) AS i LEFT JOIN change
                   ON change.log_partition = i
                   AND (change.user_name, change.device) = (d.user_name, d.device)
               ORDER BY i
           ) AS since
    FROM (
        SELECT user_name, device, max(log_partition) AS last_partition
        FROM change GROUP BY user_name, device
    ) AS d
    UNION ALL
    SELECT DISTINCT user_name, '*', NULL::bigint[] FROM change
), known AS MATERIALIZED (
    SELECT begun.*, d.mailbox_id
    FROM begun LEFT JOIN LATERAL (
        SELECT mailbox_id FROM devices
        WHERE user_name = begun.user_name COLLATE "C" AND device = begun.device COLLATE "C" OFFSET 0
    ) AS d ON true
), -- Of two writers the second one sees here what the first one has just opened elsewhere.
reopened AS (
    INSERT INTO devices AS d (mailbox_id, user_name, device, since, seen_at)
    SELECT mailbox_id, user_name, device, since,
           (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    FROM known
    WHERE mailbox_id IS NOT NULL AND device <> '*' ORDER BY user_name, device
    ON CONFLICT (user_name, device) DO UPDATE SET since = ARRAY(
        SELECT coalesce(d.since[i], excluded.since[i])
        FROM generate_series(1, greatest(cardinality(d.since), cardinality(excluded.since))) AS i
        ORDER BY i)
), opened AS (
    INSERT INTO devices AS d (user_name, device, since, seen_at)
    SELECT user_name, device, since, (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    FROM known
    WHERE mailbox_id IS NULL ORDER BY user_name, device
    ON CONFLICT (user_name, device) DO UPDATE SET since = ARRAY(
        SELECT coalesce(d.since[i], excluded.since[i])
        FROM generate_series(1, greatest(cardinality(d.since), cardinality(excluded.since))) AS i
        ORDER BY i)
        WHERE d.device <> '*'
)
SELECT log_partition FROM moved
