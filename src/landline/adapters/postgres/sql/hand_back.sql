-- Ahead of batches in which devices end (see close_devices.sql): hands back some of what they are
-- owed there, no more than $6 rows, and returns how many were looked at.
--
-- The position is locked and stays, and the end is what comes next. So all records before it are
-- applied, and what is moved here would be moved by the end itself, in one statement that may be too
-- large for its deadline. A step that is repeated, or not followed by another one, does no harm: the
-- device's pages show the default mailbox too. A writer that was left behind finds another position,
-- once it has the lock, and nothing is moved.
WITH batch AS (
    SELECT * FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[], $5::bigint[])
        AS b (log_partition, first_offset, user_name, device, log_offset)
), ends_next AS MATERIALIZED (
    SELECT b.* FROM (SELECT * FROM batch ORDER BY log_partition) AS b CROSS JOIN LATERAL (
        SELECT log_partition FROM applied AS a
        WHERE a.log_partition = b.log_partition AND a.next_offset = b.first_offset
        FOR UPDATE
    ) AS a
), -- `others`: the user's other mailboxes that are open there.
ended AS MATERIALIZED (
    SELECT e.log_partition, d.mailbox_id, standard.mailbox_id AS default_id, ARRAY(
               SELECT o.mailbox_id FROM devices AS o
               WHERE o.user_name = e.user_name COLLATE "C" AND o.mailbox_id <> d.mailbox_id
                   AND o.since[e.log_partition + 1] IS NOT NULL
           ) AS others
    FROM ends_next AS e CROSS JOIN LATERAL (
        SELECT mailbox_id FROM devices AS d
        WHERE d.user_name = e.user_name COLLATE "C" AND d.device = e.device COLLATE "C"
            AND d.since[e.log_partition + 1] < e.log_offset OFFSET 0
    ) AS d CROSS JOIN LATERAL (
        SELECT mailbox_id FROM devices AS d
        WHERE d.user_name = e.user_name COLLATE "C" AND d.device = '*' OFFSET 0
    ) AS standard
), rows AS MATERIALIZED (
    SELECT ended.*, place, log_offset, conversation_id, is_received
    FROM ended CROSS JOIN LATERAL (
        SELECT ctid AS place, log_offset, conversation_id, is_received FROM pending AS p
        WHERE p.mailbox_id = ended.mailbox_id AND p.log_partition = ended.log_partition OFFSET 0
    ) AS p
    LIMIT $6::int
), gone AS (
    DELETE FROM pending WHERE ctid = ANY (ARRAY(SELECT place FROM rows))
), given_back AS (
    INSERT INTO pending (mailbox_id, log_partition, log_offset, conversation_id, is_received)
    SELECT default_id, log_partition, log_offset, conversation_id, false
    FROM rows
    WHERE NOT is_received AND NOT EXISTS (
        SELECT FROM pending AS p
        WHERE p.mailbox_id = ANY (others) AND p.log_partition = rows.log_partition
            AND p.log_offset = rows.log_offset OFFSET 0)
    ORDER BY default_id, log_partition, log_offset
    ON CONFLICT (mailbox_id, log_partition, log_offset) DO NOTHING
)
SELECT count(*) FROM rows
