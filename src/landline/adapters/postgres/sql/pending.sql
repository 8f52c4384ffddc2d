-- Answers all queries from the one snapshot of one statement: first `applied`, as the rows of
-- query -1, then of each query the partitions that are closed to its mailbox, in a row without a
-- place, if there are any, and its rows in the order of their positions, one more than its limit
-- where there are more. A row before which there are as many bytes as $6 says comes without its
-- content.
--
-- The vectors `after` come one behind the other in $5, each $4 long, indexed by partition.
--
-- A device is asked for together with the default mailbox of its user. A mailbox is a range of the
-- primary key, and its order is the answer's, so a page stops when it is full. The vector is a
-- filter: below it lies only what the session has outstanding.
WITH asked AS MATERIALIZED (
    SELECT number - 1 AS number, user_name, device, page, bytes, ARRAY(
               SELECT mailbox_id FROM devices AS d
               WHERE d.user_name = q.user_name COLLATE "C" AND d.device IN (q.device, '*')
           ) AS mailboxes
    FROM unnest($1::text[], $2::text[], $3::int[], $6::bigint[]) WITH ORDINALITY
        AS q (user_name, device, page, bytes, number)
), -- Partitions that only a log before this one had are closed to nobody: nothing begins or ends there.
log AS (
    SELECT coalesce((SELECT partitions FROM log_identity), 2147483647) AS partitions
)
SELECT -1 AS number, log_partition, log_offset, NULL::uuid AS message_id, NULL AS conversation,
       NULL AS sender, NULL AS content, NULL::bigint AS time_ms, NULL AS kind, NULL AS data,
       NULL::int AS conversation_id, NULL::boolean AS is_received, NULL::int[] AS closed
FROM (SELECT log_partition, next_offset FROM applied) AS a (log_partition, log_offset)
UNION ALL
SELECT number, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, closed
FROM (
    SELECT number, CASE
        WHEN device = '*' THEN ARRAY(
            SELECT i - 1 FROM devices AS d CROSS JOIN generate_subscripts(d.since, 1) AS i
            WHERE d.user_name = asked.user_name COLLATE "C" AND d.since[i] IS NOT NULL
                AND i <= (SELECT partitions FROM log))
        ELSE ARRAY(
            SELECT log_partition FROM applied CROSS JOIN (
                SELECT (SELECT since FROM devices AS d
                        WHERE d.user_name = asked.user_name COLLATE "C"
                            AND d.device = asked.device) OFFSET 0
            ) AS d (since)
            WHERE since[log_partition + 1] IS NULL
                AND log_partition < (SELECT partitions FROM log))
        END AS closed
    FROM asked
) AS c WHERE closed <> '{}'
UNION ALL
SELECT number, owed.log_partition, owed.log_offset, message_id, conversation,
       sender, CASE WHEN coalesce(sum(octet_length(content)) OVER (
           PARTITION BY number ORDER BY owed.log_partition, owed.log_offset
           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < bytes THEN content END,
       (extract(epoch FROM created_at) * 1000)::bigint, kind, data, conversation_id,
       is_received, NULL
FROM asked
CROSS JOIN LATERAL (
    SELECT p.log_partition, p.log_offset, p.conversation_id, p.is_received
    FROM unnest(mailboxes) AS b (mailbox_id) CROSS JOIN LATERAL (
        SELECT p.log_partition, p.log_offset, p.conversation_id, p.is_received FROM pending AS p
        WHERE p.mailbox_id = b.mailbox_id
            AND (p.log_partition >= $4::int
                 OR p.log_offset >= ($5::bigint[])[asked.number * $4::int + p.log_partition + 1])
        ORDER BY p.log_partition, p.log_offset
        LIMIT asked.page + 1
    ) AS p
    ORDER BY p.log_partition, p.log_offset
    LIMIT asked.page + 1
) AS owed CROSS JOIN LATERAL (
    SELECT message_id, conversation, coalesce((
               SELECT e.name FROM ended_users AS e
               WHERE e.user_name = m.sender COLLATE "C" AND m.kind = 'message'
                   AND e.before[m.log_partition + 1] > m.log_offset
           ), m.sender) AS sender, content, created_at, kind, data
    FROM messages AS m
    WHERE m.log_partition = owed.log_partition AND m.log_offset = owed.log_offset OFFSET 0
) AS m
ORDER BY number, log_partition NULLS FIRST, log_offset
