-- Applies batches of different partitions and returns the partitions that moved.
--
-- One statement, hence one implicit transaction whose commit does not wait for the client: a
-- writer that is stopped in the middle leaves no lock behind. Rows come in the order of their
-- keys, so two writers lock them in the same order. No two rows of one table share a key.
--
-- `moved` is compare-and-set. The second one waits at the row lock, and then compares with what
-- the first one left. A partition without a row stands at the start of the log's epoch.
--
-- Of two positions of a message the lower *offset* counts: its high bits are the log epoch, and a
-- log with another number of partitions has the same conversations in other partitions.
WITH batch AS (
    SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[])
        AS b (log_partition, first_offset, next_offset)
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
), -- As one value: every position has moved, or not, before the first row below is touched.
partitions AS (
    SELECT array_agg(log_partition) AS moved FROM moved
), facts AS (
    INSERT INTO messages AS m
        (message_id, conversation, sender, content, created_at, log_partition, log_offset)
    SELECT message_id, conversation, sender, content,
           timestamptz 'epoch' + time_ms * interval '1 millisecond', log_partition, log_offset
    FROM unnest($4::int[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::bigint[],
                $10::bigint[])
        AS r (log_partition, message_id, conversation, sender, content, time_ms, log_offset)
    WHERE log_partition = ANY ((SELECT moved FROM partitions)::int[])
    ON CONFLICT (message_id) DO UPDATE
        SET created_at = excluded.created_at, log_partition = excluded.log_partition,
            log_offset = excluded.log_offset
        WHERE (excluded.log_offset, excluded.log_partition) < (m.log_offset, m.log_partition)
), owed_or_received AS (
    -- A row is a debt (it has an offset), a receipt (it has a time), or both.
    INSERT INTO deliveries AS d
        (message_id, recipient, mailbox, delivered_at, log_partition, log_offset, conversation)
    SELECT message_id, recipient, recipient, delivered_at,
           CASE WHEN log_offset IS NOT NULL THEN log_partition END, log_offset, conversation
    FROM unnest($11::int[], $12::uuid[], $13::text[], $14::bigint[], $15::text[], $20::text[])
        AS r (log_partition, message_id, recipient, log_offset, delivered_at, conversation)
    WHERE log_partition = ANY ((SELECT moved FROM partitions)::int[])
    ON CONFLICT (message_id, recipient COLLATE "C") DO UPDATE
        SET delivered_at = least(d.delivered_at, excluded.delivered_at),
            conversation = coalesce(excluded.conversation, d.conversation),
            (log_partition, log_offset) = (
                SELECT p, o
                FROM (VALUES (d.log_partition, d.log_offset),
                             (excluded.log_partition, excluded.log_offset)) AS known (p, o)
                ORDER BY o, p LIMIT 1)  -- nulls come last
        WHERE (d.delivered_at IS NULL AND excluded.delivered_at IS NOT NULL)
           OR excluded.delivered_at < d.delivered_at
           OR (d.log_offset IS NULL AND excluded.log_offset IS NOT NULL)
           OR (excluded.log_offset, excluded.log_partition) < (d.log_offset, d.log_partition)
), refused AS (
    INSERT INTO quarantine (log_partition, log_offset, value, reason)
    SELECT log_partition, log_offset, value, reason
    FROM unnest($16::int[], $17::bigint[], $18::bytea[], $19::text[])
        AS r (log_partition, log_offset, value, reason)
    WHERE log_partition = ANY ((SELECT moved FROM partitions)::int[])
    ON CONFLICT (log_partition, log_offset) DO NOTHING
)
SELECT log_partition FROM moved
