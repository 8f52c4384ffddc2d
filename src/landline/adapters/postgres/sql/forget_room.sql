-- Ahead of a batch that removes somebody from a room (see apply_member.sql): deletes some of what
-- they are owed of it, no more than $7 rows, and returns how many were looked at.
--
-- The position is locked and stays, and the removal is what comes next. So all records before it are
-- applied, and it would delete these rows itself, in one statement that may be too large for its
-- deadline. A writer that was left behind finds another position, once it has the lock, and nothing
-- goes. Nor does anything where the removal will do nothing: its event is known, or may have been
-- purged, or they are no member.
WITH removed_next AS MATERIALIZED (
    SELECT log_partition FROM applied
    WHERE log_partition = $1::int AND next_offset = $2::bigint
    FOR UPDATE
), room AS MATERIALIZED (
    SELECT c.conversation_id
    FROM removed_next CROSS JOIN LATERAL (
        SELECT conversation_id FROM conversations WHERE name = $4::text COLLATE "C" OFFSET 0
    ) AS c CROSS JOIN LATERAL (
        SELECT FROM members AS m
        WHERE m.conversation_id = c.conversation_id AND m.user_name = $5::text COLLATE "C" OFFSET 0
    ) AS m
    WHERE NOT EXISTS (SELECT FROM messages WHERE message_id = $3::uuid) AND NOT EXISTS (
        SELECT FROM purged WHERE log_partition = $1::int AND before_offset > $6::bigint)
), rows AS MATERIALIZED (
    SELECT place
    FROM room CROSS JOIN LATERAL (
        SELECT mailbox_id FROM devices WHERE user_name = $5::text COLLATE "C" OFFSET 0
    ) AS d CROSS JOIN LATERAL (
        SELECT ctid AS place FROM pending AS p
        WHERE p.mailbox_id = d.mailbox_id AND p.conversation_id = room.conversation_id OFFSET 0
    ) AS p
    LIMIT $7::int
), gone AS (
    DELETE FROM pending WHERE ctid = ANY (ARRAY(SELECT place FROM rows))
)
SELECT count(*) FROM rows
