-- Applies batches of different partitions, none with a change, and returns the partitions that
-- moved.
--
-- One statement, hence one implicit transaction whose commit does not wait for the client: a
-- writer that is stopped in the middle leaves no lock behind. Rows come in the order of their
-- keys, so two writers lock them in the same order. No two rows of one table share a key.
--
-- `moved` is compare-and-set. The second one waits at the row lock, and then compares with what
-- the first one left. A partition without a row stands at the start of the log's epoch. Whoever
-- wins has seen all that was applied of the partition, for the snapshot has its position too. So
-- what belongs to the partition can be looked up: members, open devices, what is pending.
--
-- Parts of one statement do not see what the others write. Default mailboxes are shared with the
-- writers of other partitions: one that is made meanwhile comes out of ON CONFLICT, and only there.
--
-- Plans are kept from when the tables were small. LATERAL with OFFSET 0 looks up row by row in an
-- index, whatever the planner thinks of the sizes; INSERT ... ON CONFLICT and `ctid` do so too.
-- What comes in is joined by one column each time: by two of them it would expect a single row, and
-- go through a thousand a thousand times.
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
),

-- What is said -------------------------------------------------------------------------------

-- `number`: which of the messages that came in, counted from 1.
sent AS MATERIALIZED (
    SELECT * FROM unnest(
            $4::int[], $5::bigint[], $6::uuid[], $7::text[], $8::text[], $9::text[], $10::text[],
            $11::text[], $12::bigint[], $13::boolean[], $14::boolean[]) WITH ORDINALITY
        AS s (log_partition, log_offset, message_id, conversation, sender, device, content, data,
              time_ms, is_room, is_to_members, number)
    WHERE log_partition = ANY ((SELECT moved FROM partitions)::int[])
), -- What was purged does not come back when its part of the log is applied again, and is not owed
-- again. What is owed was not purged, so it is missing. Otherwise nothing is looked up here.
again AS (
    SELECT array_agg(log_partition) AS partitions
    FROM batch AS b CROSS JOIN LATERAL (
        SELECT FROM purged AS p
        WHERE p.log_partition = b.log_partition AND p.before_offset > b.first_offset OFFSET 0
    ) AS p
), gone AS MATERIALIZED (
    SELECT sent.message_id
    FROM sent CROSS JOIN LATERAL (
        SELECT FROM purged AS p
        WHERE p.log_partition = sent.log_partition AND p.before_offset > sent.log_offset OFFSET 0
    ) AS p
    WHERE sent.log_partition = ANY ((SELECT partitions FROM again)::int[]) AND NOT EXISTS (
        SELECT FROM (
            SELECT conversation_id FROM conversations
            WHERE name = sent.conversation COLLATE "C" OFFSET 0
        ) AS c CROSS JOIN LATERAL (
            SELECT user_name FROM members WHERE conversation_id = c.conversation_id
            UNION ALL
            SELECT user_name FROM outsiders WHERE conversation_id = c.conversation_id
            OFFSET 0
        ) AS w CROSS JOIN LATERAL (
            SELECT mailbox_id FROM devices WHERE user_name = w.user_name COLLATE "C" OFFSET 0
        ) AS d CROSS JOIN LATERAL (
            SELECT FROM pending AS p
            WHERE p.mailbox_id = d.mailbox_id AND p.log_partition = sent.log_partition
                AND p.log_offset = sent.log_offset OFFSET 0
        ) AS p)
), fresh AS (
    INSERT INTO messages
        (message_id, conversation, sender, content, created_at, log_partition, log_offset, data)
    SELECT message_id, conversation, sender, content,
           timestamptz 'epoch' + time_ms * interval '1 millisecond', log_partition, log_offset, data
    FROM sent WHERE message_id NOT IN (SELECT message_id FROM gone)
    ON CONFLICT (message_id) DO NOTHING
    RETURNING message_id
), news AS MATERIALIZED (
    SELECT sent.* FROM sent JOIN fresh USING (message_id)
), places AS MATERIALIZED (
    SELECT latest.*, c.conversation_id
    FROM (
        SELECT DISTINCT ON (conversation) conversation, is_room, log_offset, time_ms,
               min(log_offset) OVER (PARTITION BY conversation) AS first_offset
        FROM news ORDER BY conversation, log_offset DESC
    ) AS latest LEFT JOIN LATERAL (
        SELECT conversation_id FROM conversations
        WHERE name = latest.conversation COLLATE "C" OFFSET 0
    ) AS c ON true
), -- With its number: a number that ON CONFLICT does not use would be lost, and there are 2^31.
brought_on AS (
    INSERT INTO conversations AS c (conversation_id, name, kind, last_offset, last_time_ms)
    SELECT conversation_id, conversation, '', log_offset, time_ms
    FROM places WHERE conversation_id IS NOT NULL ORDER BY conversation
    ON CONFLICT (name) DO UPDATE
        SET last_offset = excluded.last_offset, last_time_ms = excluded.last_time_ms
        WHERE c.last_offset < excluded.last_offset
), begun AS (
    INSERT INTO conversations AS c (name, kind, last_offset, last_time_ms)
    SELECT conversation, CASE WHEN is_room THEN 'room' ELSE 'direct' END, log_offset, time_ms
    FROM places WHERE conversation_id IS NULL ORDER BY conversation
    ON CONFLICT (name) DO UPDATE
        SET last_offset = greatest(c.last_offset, excluded.last_offset),
            last_time_ms = CASE WHEN c.last_offset < excluded.last_offset
                THEN excluded.last_time_ms ELSE c.last_time_ms END
    RETURNING conversation_id, name
), events AS MATERIALIZED (
    SELECT news.*, coalesce(places.conversation_id, begun.conversation_id) AS conversation_id
    FROM news JOIN places USING (conversation) LEFT JOIN begun ON begun.name = news.conversation
),

outside AS (
    INSERT INTO outsiders (conversation_id, user_name)
    SELECT DISTINCT conversation_id, user_name
    FROM unnest($36::bigint[], $37::text[]) AS o (number, user_name) JOIN events USING (number)
    ORDER BY conversation_id, user_name
    ON CONFLICT (conversation_id, user_name) DO NOTHING
),

-- Who has seen what --------------------------------------------------------------------------

seen AS MATERIALIZED (
    SELECT conversation, user_name, max(log_offset) AS log_offset
    FROM unnest($15::int[], $16::text[], $17::text[], $18::bigint[])
        AS r (log_partition, conversation, user_name, log_offset)
    WHERE log_partition = ANY ((SELECT moved FROM partitions)::int[])
    GROUP BY conversation, user_name
), -- The two of a direct conversation that is seen for the first time. Where its name does not say
-- who they are, whom its first message names: that has an offset here.
joined AS (
    INSERT INTO members
        (conversation_id, user_name, role, joined_offset, number, read_offset)
    SELECT begun.conversation_id, m.user_name, 'member', 0, m.number, coalesce(seen.log_offset, -1)
    FROM begun JOIN places ON places.conversation = begun.name
    JOIN unnest($19::text[], $20::bigint[], $21::text[], $22::int[])
        AS m (conversation, log_offset, user_name, number) ON m.conversation = begun.name
    LEFT JOIN seen ON seen.conversation = begun.name AND seen.user_name = m.user_name
    WHERE coalesce(m.log_offset, places.first_offset) = places.first_offset
    ORDER BY begun.conversation_id, m.user_name
    ON CONFLICT (conversation_id, user_name) DO NOTHING
), read AS (
    INSERT INTO members AS m
        (conversation_id, user_name, role, joined_offset, number, read_offset)
    SELECT known.conversation_id, user_name, role, joined_offset, number, log_offset
    FROM seen CROSS JOIN LATERAL (
        SELECT conversation_id FROM conversations
        WHERE name = seen.conversation COLLATE "C" OFFSET 0
    ) AS c CROSS JOIN LATERAL (
        SELECT conversation_id, role, joined_offset, number FROM members
        WHERE conversation_id = c.conversation_id AND user_name = seen.user_name COLLATE "C"
            AND read_offset < seen.log_offset OFFSET 0
    ) AS known
    ORDER BY known.conversation_id, user_name
    ON CONFLICT (conversation_id, user_name) DO UPDATE SET read_offset = excluded.read_offset
        WHERE m.read_offset < excluded.read_offset
),

-- Who is owed it -----------------------------------------------------------------------------

-- `is_own`: the sender's own mailboxes have it, and that which it was sent from is left out.
owed AS MATERIALIZED (
    SELECT number, log_partition, log_offset, conversation_id, device, user_name, is_own
    FROM unnest($23::bigint[], $24::text[], $25::boolean[]) AS o (number, user_name, is_own)
    JOIN events USING (number)
    UNION ALL
    SELECT number, log_partition, log_offset, conversation_id, device, user_name,
           user_name = sender
    FROM events CROSS JOIN LATERAL (
        SELECT user_name FROM members WHERE conversation_id = events.conversation_id OFFSET 0
    ) AS m
    WHERE is_to_members
), -- Whoever has a mailbox at all has one that is open: the default one where no other is.
opened AS MATERIALIZED (
    SELECT owed.*, d.mailbox_id, d.device AS to_device
    FROM owed LEFT JOIN LATERAL (
        SELECT mailbox_id, device FROM devices AS d
        WHERE user_name = owed.user_name COLLATE "C" AND CASE
            WHEN device <> '*' THEN since[owed.log_partition + 1] IS NOT NULL
            ELSE NOT EXISTS (
                SELECT FROM devices AS n
                WHERE n.user_name = owed.user_name COLLATE "C"
                    AND n.since[owed.log_partition + 1] IS NOT NULL)
            END
        OFFSET 0
    ) AS d ON true
), made AS (
    INSERT INTO devices (user_name, device)
    SELECT DISTINCT user_name, '*' FROM opened WHERE mailbox_id IS NULL ORDER BY user_name
    ON CONFLICT (user_name, device) DO UPDATE SET device = excluded.device
    RETURNING mailbox_id, user_name
),

-- Who has acknowledged it --------------------------------------------------------------------

-- `number`: the message, where it is in the same batch.
receipts AS MATERIALIZED (
    SELECT * FROM unnest($26::int[], $27::uuid[], $28::text[], $29::text[], $30::bigint[],
                         $31::bigint[])
        AS r (log_partition, message_id, user_name, device, log_offset, number)
    WHERE log_partition = ANY ((SELECT moved FROM partitions)::int[])
), with_it AS MATERIALIZED (
    SELECT number, user_name, array_agg(device) AS devices
    FROM receipts WHERE number IS NOT NULL GROUP BY number, user_name
), -- A receipt of a mailbox ends the debt of that one and of the default one of its user. The
-- others of the user are owed it still, but it is delivered.
entered AS (
    INSERT INTO pending (mailbox_id, log_partition, log_offset, conversation_id, is_received)
    SELECT coalesce(opened.mailbox_id, made.mailbox_id), log_partition, log_offset, conversation_id,
           is_own OR with_it.devices IS NOT NULL
    FROM opened LEFT JOIN made USING (user_name)
    LEFT JOIN with_it USING (number, user_name)
    WHERE NOT (is_own AND coalesce(to_device, '*') = device)
        AND (with_it.devices IS NULL OR coalesce(to_device, '*') <> ALL (with_it.devices || '*'::text))
    ON CONFLICT (mailbox_id, log_partition, log_offset) DO NOTHING
), -- In a log that has grown, the receipt of a message from before, of a lower epoch, may be in another
-- partition.
before_it AS MATERIALIZED (
    SELECT m.log_partition, m.log_offset, user_name, array_agg(device) AS devices
    FROM receipts AS r CROSS JOIN LATERAL (
        SELECT log_partition, log_offset FROM messages
        WHERE message_id = r.message_id AND log_offset < r.log_offset
            AND (log_partition = r.log_partition OR log_offset >> 40 < r.log_offset >> 40) OFFSET 0
    ) AS m
    GROUP BY 1, 2, 3
), touched AS MATERIALIZED (
    SELECT place, d.device = '*' OR d.device = ANY (devices) AS is_gone, is_received
    FROM before_it AS r CROSS JOIN LATERAL (
        SELECT mailbox_id, device FROM devices
        WHERE user_name = r.user_name COLLATE "C" OFFSET 0
    ) AS d CROSS JOIN LATERAL (
        SELECT ctid AS place, is_received FROM pending AS p
        WHERE p.mailbox_id = d.mailbox_id AND p.log_partition = r.log_partition
            AND p.log_offset = r.log_offset OFFSET 0
    ) AS p
), ended AS (
    DELETE FROM pending WHERE ctid = ANY (ARRAY(SELECT place FROM touched WHERE is_gone))
), received AS (
    UPDATE pending SET is_received = true
    WHERE ctid = ANY (ARRAY(SELECT place FROM touched WHERE NOT (is_gone OR is_received)))
),

-- What nobody can apply ----------------------------------------------------------------------

refused AS (
    INSERT INTO quarantine (log_partition, log_offset, value, reason)
    SELECT log_partition, log_offset, value, reason
    FROM unnest($32::int[], $33::bigint[], $34::bytea[], $35::text[])
        AS r (log_partition, log_offset, value, reason)
    WHERE log_partition = ANY ((SELECT moved FROM partitions)::int[])
    ON CONFLICT (log_partition, log_offset) DO NOTHING
)
SELECT log_partition FROM moved
