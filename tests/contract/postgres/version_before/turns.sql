-- Answers queries of mailboxes that are owed much, from one snapshot: partitions take turns, and so
-- do conversations. The arguments are those of pending.sql, and in $6, $7, $8 from behind which
-- conversation and partition on how many have their turn, $9 with so many rows each, and in $10 to
-- $13 from which offset on: query, conversation, partition and offset of those where it is not that
-- of the vector.
--
-- Kinds of rows: 0, `applied`, as query -1. 1, a message of the page. 2, where the page stops in a
-- partition. 3, whose turn it is; the first is the one before, and missing where the rows of a
-- server of an older version have no conversation: there nobody has a turn. In the place of the
-- offset: is there something between the vector and the offset of $13? 4, a message of it.
-- A message before which there are as many bytes as were asked for comes without its content.
WITH RECURSIVE asked AS (
    SELECT number - 1 AS number, mailbox COLLATE "C" AS mailbox, page, bytes,
           conversation COLLATE "C" AS conversation, log_partition, turns
    FROM unnest($1::text[], $2::int[], $5::bigint[], $6::text[], $7::int[], $8::int[])
        WITH ORDINALITY AS q (mailbox, page, bytes, conversation, log_partition, turns, number)
), candidates AS (
    SELECT asked.number, asked.page, asked.bytes, a.log_partition, owed.log_offset,
           owed.message_id, row_number() OVER (
               PARTITION BY asked.number ORDER BY owed.nth, a.log_partition) AS place
    FROM asked CROSS JOIN applied AS a CROSS JOIN LATERAL (
        SELECT log_offset, message_id, row_number() OVER (ORDER BY log_offset) AS nth
        FROM (
            SELECT d.log_offset, d.message_id FROM deliveries AS d
            WHERE d.status = 'UNDELIVERED' AND d.mailbox = asked.mailbox COLLATE "C"
                AND d.log_partition = a.log_partition
                AND d.log_offset >= CASE WHEN a.log_partition < $3::int THEN
                    ($4::bigint[])[asked.number * $3::int + a.log_partition + 1] ELSE 0 END
            ORDER BY d.log_offset LIMIT asked.page + 1
        ) AS first
    ) AS owed
), turns AS (
    SELECT number, 0 AS nth, conversation, log_partition FROM asked
    WHERE NOT EXISTS (
        SELECT FROM deliveries AS d
        WHERE d.status = 'UNDELIVERED' AND d.conversation IS NULL
            AND d.mailbox = asked.mailbox COLLATE "C")
    UNION ALL
    SELECT turns.number, turns.nth + 1, next.conversation, next.log_partition
    FROM turns JOIN asked USING (number) CROSS JOIN LATERAL (
        SELECT d.conversation, d.log_partition FROM deliveries AS d
        WHERE d.status = 'UNDELIVERED' AND d.mailbox = asked.mailbox COLLATE "C"
            AND (d.conversation, d.log_partition) > (turns.conversation, turns.log_partition)
        ORDER BY d.conversation, d.log_partition LIMIT 1
    ) AS next
    WHERE turns.nth < asked.turns
), cursors AS (
    SELECT number, conversation COLLATE "C" AS conversation, log_partition, log_offset
    FROM unnest($10::int[], $11::text[], $12::int[], $13::bigint[])
        AS c (number, conversation, log_partition, log_offset)
), chosen AS (
    SELECT number, nth, conversation, log_partition, mailbox, bytes, vector,
           greatest(vector, cursors.log_offset) AS start
    FROM (
        SELECT turns.*, asked.mailbox, asked.bytes, CASE WHEN turns.log_partition BETWEEN 0
            AND $3::int - 1 THEN ($4::bigint[])[asked.number * $3::int + turns.log_partition + 1]
            ELSE 0 END AS vector
        FROM turns JOIN asked USING (number)
    ) AS turns LEFT JOIN cursors USING (number, conversation, log_partition)
), found AS (
    SELECT number, bytes, 1 AS kind, place AS sorting, log_partition, log_offset, message_id
    FROM candidates WHERE place <= page
    UNION ALL
    SELECT number, bytes, 4, nth, chosen.log_partition, d.log_offset, d.message_id
    FROM chosen CROSS JOIN LATERAL (
        SELECT d.log_offset, d.message_id FROM deliveries AS d
        WHERE d.status = 'UNDELIVERED' AND d.mailbox = chosen.mailbox COLLATE "C"
            AND d.conversation = chosen.conversation AND d.log_partition = chosen.log_partition
            AND d.log_offset >= chosen.start
        ORDER BY d.log_offset LIMIT $9::int
    ) AS d
    WHERE nth > 0
)
SELECT -1 AS number, 0 AS kind, 0 AS sorting, log_partition, next_offset AS log_offset,
       NULL AS message_id, NULL AS conversation, NULL AS sender, NULL AS content, NULL AS time_ms
FROM applied
UNION ALL
SELECT number, kind, sorting, found.log_partition, found.log_offset, message_id, conversation,
       sender, CASE WHEN coalesce(sum(octet_length(content)) OVER (
           PARTITION BY number, kind ORDER BY sorting, found.log_offset
           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < bytes THEN content END,
       (extract(epoch FROM created_at) * 1000)::bigint
FROM found JOIN messages USING (message_id)
UNION ALL
SELECT number, 2, 0, log_partition, min(log_offset), NULL, NULL, NULL, NULL, NULL
FROM candidates WHERE place > page GROUP BY number, log_partition
UNION ALL
SELECT number, 3, nth, log_partition, EXISTS (
           SELECT FROM deliveries AS d
           WHERE nth > 0 AND d.status = 'UNDELIVERED' AND d.mailbox = chosen.mailbox COLLATE "C"
               AND d.conversation = chosen.conversation AND d.log_partition = chosen.log_partition
               AND d.log_offset >= chosen.vector AND d.log_offset < chosen.start)::int,
       NULL, conversation, NULL, NULL, NULL
FROM chosen
ORDER BY number, kind, sorting, log_offset
