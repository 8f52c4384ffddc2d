-- The next conversations of one or two mailboxes, each found by one look into the index, with the first
-- rows of each at or beyond the offset and its own cursor, and whether there is something between
-- the two. A conversation that is null: there is no other. What the index does not have is looked up for
-- the few rows of the answer: asked for among them, the walk would go through all of the mailbox.
WITH RECURSIVE cursors (conversation_id, cursor) AS (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:cursors)
), turns (number, conversation_id) AS (
    VALUES (0, :behind)
    UNION ALL
    SELECT number + 1, (
        SELECT min(conversation_id) FROM (
            SELECT * FROM (
                SELECT p.conversation_id FROM pending AS p
                WHERE p.mailbox_id = :own AND p.conversation_id > turns.conversation_id
                ORDER BY p.conversation_id LIMIT 1)
            UNION ALL
            SELECT * FROM (
                SELECT p.conversation_id FROM pending AS p
                WHERE p.mailbox_id = :home AND p.conversation_id > turns.conversation_id
                ORDER BY p.conversation_id LIMIT 1)
        ))
    FROM turns WHERE number < :count AND conversation_id IS NOT NULL
), chosen (conversation_id, start) AS (
    SELECT conversation_id, max(:offset, coalesce((
        SELECT cursor FROM cursors
        WHERE cursors.conversation_id = turns.conversation_id), 0))
    FROM turns WHERE number > 0 ORDER BY number
)
SELECT json_group_array(json_array(conversation_id, EXISTS (
    SELECT 1 FROM pending AS p
    WHERE p.mailbox_id IN (:own, :home) AND p.conversation_id = chosen.conversation_id
        AND p.log_offset >= :offset AND p.log_offset < chosen.start
), json((
    SELECT json_group_array(json_array(
        message_id, conversation, sender, content, log_partition, log_offset, created_at, kind,
        data, conversation_id, is_received))
    FROM (
        SELECT m.*, owed.conversation_id, (
            SELECT p.is_received FROM pending AS p
            WHERE p.mailbox_id = owed.mailbox_id AND p.log_offset = owed.log_offset
        ) AS is_received
        FROM (
            SELECT * FROM (
                SELECT p.mailbox_id, p.log_offset, p.conversation_id FROM pending AS p
                WHERE p.mailbox_id = :own AND p.conversation_id = chosen.conversation_id
                    AND p.log_offset >= chosen.start
                ORDER BY p.log_offset LIMIT :rows)
            UNION ALL
            SELECT * FROM (
                SELECT p.mailbox_id, p.log_offset, p.conversation_id FROM pending AS p
                WHERE p.mailbox_id = :home AND p.conversation_id = chosen.conversation_id
                    AND p.log_offset >= chosen.start
                ORDER BY p.log_offset LIMIT :rows)
            ORDER BY log_offset LIMIT :rows
        ) AS owed CROSS JOIN shown_messages AS m ON m.log_offset = owed.log_offset
        ORDER BY owed.log_offset
    )
)))) FROM chosen
