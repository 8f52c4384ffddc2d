-- Answers all queries from the one snapshot of one statement: first `applied`, as the rows of
-- query -1, then the rows of each query in the order of their positions, one more than its limit
-- where there are more. A row before which there are as many bytes as $5 says comes without its
-- content.
--
-- The vectors `after` come one behind the other in $4, each $3 long, indexed by partition.
--
-- The mailbox is the range of the partial index, and its order is the answer's, so a page stops
-- when it is full. The vector is a filter: below it lies only what the session has outstanding.
-- The collation is that of the index; in older databases the column has another one.
WITH asked AS (
    SELECT number - 1 AS number, mailbox, page, bytes
    FROM unnest($1::text[], $2::int[], $5::bigint[]) WITH ORDINALITY
        AS q (mailbox, page, bytes, number)
)
SELECT -1 AS number, log_partition, log_offset, NULL AS message_id, NULL AS conversation,
       NULL AS sender, NULL AS content, NULL AS time_ms
FROM (SELECT log_partition, next_offset FROM applied) AS a (log_partition, log_offset)
UNION ALL
SELECT number, owed.log_partition, owed.log_offset, message_id, conversation,
       sender, CASE WHEN coalesce(sum(octet_length(content)) OVER (
           PARTITION BY number ORDER BY owed.log_partition, owed.log_offset
           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < bytes THEN content END,
       (extract(epoch FROM created_at) * 1000)::bigint
FROM asked
CROSS JOIN LATERAL (
    SELECT message_id, log_partition, log_offset FROM deliveries AS d
    WHERE d.status = 'UNDELIVERED' AND d.mailbox = asked.mailbox COLLATE "C"
        AND (d.log_partition >= $3::int
             OR d.log_offset >= ($4::bigint[])[asked.number * $3::int + d.log_partition + 1])
    ORDER BY d.log_partition, d.log_offset
    LIMIT asked.page + 1
) AS owed
JOIN messages USING (message_id)
ORDER BY number, log_partition, log_offset
