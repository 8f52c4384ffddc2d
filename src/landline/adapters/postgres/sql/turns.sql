-- Answers queries of mailboxes that are owed much, from one snapshot: partitions take turns, and so
-- do conversations. The arguments are those of pending.sql, and in $7, $8, $9 from behind which
-- conversation and partition on how many have their turn, $10 with so many rows each, and in $11 to
-- $14 from which offset on: query, conversation, partition and offset of those where it is not that
-- of the vector.
--
-- Kinds of rows: 0, `applied`, as query -1, and the partitions that are closed to a mailbox, as in
-- pending.sql. 1, a message of the page. 2, where the page stops in a partition. 3, whose turn it
-- is; the first is the one before. In the place of the offset: is there something between the
-- vector and the offset of $14? 4, a message of it.
-- A message before which there are as many bytes as were asked for comes without its content.
WITH RECURSIVE asked AS MATERIALIZED (
    SELECT number - 1 AS number, user_name, device, page, bytes, conversation_id, log_partition,
           turns, ARRAY(
               SELECT mailbox_id FROM devices AS d
               WHERE d.user_name = q.user_name COLLATE "C" AND d.device IN (q.device, '*')
           ) AS mailboxes
    FROM unnest($1::text[], $2::text[], $3::int[], $6::bigint[], $7::int[], $8::int[], $9::int[])
        WITH ORDINALITY
        AS q (user_name, device, page, bytes, conversation_id, log_partition, turns, number)
), candidates AS (
    SELECT asked.number, asked.page, asked.bytes, a.log_partition, owed.log_offset,
           owed.conversation_id, owed.is_received, row_number() OVER (
               PARTITION BY asked.number ORDER BY owed.nth, a.log_partition) AS place
    FROM asked CROSS JOIN applied AS a CROSS JOIN LATERAL (
        SELECT log_offset, conversation_id, is_received,
               row_number() OVER (ORDER BY log_offset) AS nth
        FROM (
            SELECT p.log_offset, p.conversation_id, p.is_received
            FROM unnest(mailboxes) AS b (mailbox_id) CROSS JOIN LATERAL (
                SELECT p.log_offset, p.conversation_id, p.is_received FROM pending AS p
                WHERE p.mailbox_id = b.mailbox_id AND p.log_partition = a.log_partition
                    AND p.log_offset >= CASE WHEN a.log_partition < $4::int THEN
                        ($5::bigint[])[asked.number * $4::int + a.log_partition + 1] ELSE 0 END
                ORDER BY p.log_offset LIMIT asked.page + 1
            ) AS p
            ORDER BY p.log_offset LIMIT asked.page + 1
        ) AS first
    ) AS owed
), turns AS (
    SELECT number, 0 AS nth, conversation_id, log_partition FROM asked
    UNION ALL
    SELECT turns.number, turns.nth + 1, next.conversation_id, next.log_partition
    FROM turns JOIN asked USING (number) CROSS JOIN LATERAL (
        SELECT p.conversation_id, p.log_partition
        FROM unnest(mailboxes) AS b (mailbox_id) CROSS JOIN LATERAL (
            SELECT p.conversation_id, p.log_partition FROM pending AS p
            WHERE p.mailbox_id = b.mailbox_id AND (p.conversation_id, p.log_partition)
                > (turns.conversation_id, turns.log_partition)
            ORDER BY p.conversation_id, p.log_partition LIMIT 1
        ) AS p
        ORDER BY p.conversation_id, p.log_partition LIMIT 1
    ) AS next
    WHERE turns.nth < asked.turns
), cursors AS (
    SELECT number, conversation_id, log_partition, log_offset
    FROM unnest($11::int[], $12::int[], $13::int[], $14::bigint[])
        AS c (number, conversation_id, log_partition, log_offset)
), chosen AS (
    SELECT number, nth, conversation_id, log_partition, mailboxes, bytes, vector,
           greatest(vector, cursors.log_offset) AS start
    FROM (
        SELECT turns.*, asked.mailboxes, asked.bytes, CASE WHEN turns.log_partition BETWEEN 0
            AND $4::int - 1 THEN ($5::bigint[])[asked.number * $4::int + turns.log_partition + 1]
            ELSE 0 END AS vector
        FROM turns JOIN asked USING (number)
    ) AS turns LEFT JOIN cursors USING (number, conversation_id, log_partition)
), found AS (
    SELECT number, bytes, 1 AS kind, place AS sorting, log_partition, log_offset, conversation_id,
           is_received
    FROM candidates WHERE place <= page
    UNION ALL
    SELECT number, bytes, 4, nth, chosen.log_partition, p.log_offset, chosen.conversation_id,
           p.is_received
    FROM chosen CROSS JOIN LATERAL (
        SELECT p.log_offset, p.is_received
        FROM unnest(mailboxes) AS b (mailbox_id) CROSS JOIN LATERAL (
            SELECT p.log_offset, p.is_received FROM pending AS p
            WHERE p.mailbox_id = b.mailbox_id AND p.conversation_id = chosen.conversation_id
                AND p.log_partition = chosen.log_partition AND p.log_offset >= chosen.start
            ORDER BY p.log_offset LIMIT $10::int
        ) AS p
        ORDER BY p.log_offset LIMIT $10::int
    ) AS p
    WHERE nth > 0
), log AS (
    SELECT coalesce((SELECT partitions FROM log_identity), 2147483647) AS partitions
)
SELECT -1 AS number, 0 AS row_kind, 0 AS sorting, log_partition, next_offset AS log_offset,
       NULL::uuid AS message_id, NULL AS conversation, NULL AS sender, NULL AS content, NULL::bigint AS time_ms,
       NULL AS kind, NULL AS data, NULL::int AS conversation_id, NULL::boolean AS is_received,
       NULL::int[] AS closed
FROM applied
UNION ALL
SELECT number, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, closed
FROM (
    SELECT number, CASE
        WHEN device = '*' THEN ARRAY(
            SELECT i - 1 FROM devices AS d CROSS JOIN generate_subscripts(d.since, 1) AS i
            WHERE d.user_name = asked.user_name COLLATE "C" AND d.since[i] IS NOT NULL
                AND i <= (SELECT partitions FROM log))
        ELSE ARRAY(
            SELECT a.log_partition FROM applied AS a CROSS JOIN (
                SELECT (SELECT since FROM devices AS d
                        WHERE d.user_name = asked.user_name COLLATE "C"
                            AND d.device = asked.device) OFFSET 0
            ) AS d (since)
            WHERE since[a.log_partition + 1] IS NULL
                AND a.log_partition < (SELECT partitions FROM log))
        END AS closed
    FROM asked
) AS c WHERE closed <> '{}'
UNION ALL
SELECT number, found.kind, sorting, found.log_partition, found.log_offset, message_id, conversation,
       sender, CASE WHEN coalesce(sum(octet_length(content)) OVER (
           PARTITION BY number, found.kind ORDER BY sorting, found.log_offset
           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < bytes THEN content END,
       (extract(epoch FROM created_at) * 1000)::bigint, m.kind, data, conversation_id,
       is_received, NULL
FROM found CROSS JOIN LATERAL (
    SELECT message_id, conversation, coalesce((
               SELECT e.name FROM ended_users AS e
               WHERE e.user_name = m.sender COLLATE "C" AND m.kind = 'message'
                   AND e.before[m.log_partition + 1] > m.log_offset
           ), m.sender) AS sender, content, created_at, kind, data
    FROM messages AS m
    WHERE m.log_partition = found.log_partition AND m.log_offset = found.log_offset OFFSET 0
) AS m
UNION ALL
SELECT number, 2, 0, log_partition, min(log_offset), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL
FROM candidates WHERE place > page GROUP BY number, log_partition
UNION ALL
SELECT number, 3, nth, log_partition, (nth > 0 AND EXISTS (
           SELECT FROM unnest(mailboxes) AS b (mailbox_id) CROSS JOIN LATERAL (
               SELECT FROM pending AS p
               WHERE p.mailbox_id = b.mailbox_id AND p.conversation_id = chosen.conversation_id
                   AND p.log_partition = chosen.log_partition
                   AND p.log_offset >= chosen.vector AND p.log_offset < chosen.start LIMIT 1
           ) AS p))::int,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, conversation_id, NULL, NULL
FROM chosen
ORDER BY number, row_kind, sorting, log_offset
