-- The next conversations of a mailbox, each found by one look into the index, with the first rows of
-- each at or beyond the offset and its own cursor, and whether there is something between the two. A
-- conversation that is null: there is no other.
WITH RECURSIVE cursors (conversation, cursor) AS (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:cursors)
), turns (number, conversation) AS (
    VALUES (0, :behind)
    UNION ALL
    SELECT number + 1, (
        SELECT d.conversation FROM deliveries AS d
        WHERE d.status = 'UNDELIVERED' AND d.mailbox = :mailbox
            AND d.conversation > turns.conversation
        ORDER BY d.conversation LIMIT 1)
    FROM turns WHERE number < :count AND conversation IS NOT NULL
), chosen (conversation, start) AS (
    SELECT conversation, max(:offset, coalesce((
        SELECT cursor FROM cursors WHERE cursors.conversation = turns.conversation), 0))
    FROM turns WHERE number > 0 ORDER BY number
)
SELECT json_group_array(json_array(conversation, EXISTS (
    SELECT 1 FROM deliveries AS d
    WHERE d.status = 'UNDELIVERED' AND d.mailbox = :mailbox
        AND d.conversation = chosen.conversation
        AND d.log_offset >= :offset AND d.log_offset < chosen.start
), json((
    SELECT json_group_array(json_array(
        message_id, conversation, sender, content, log_partition, log_offset, created_at))
    FROM (
        SELECT m.message_id, m.conversation, m.sender, m.content, m.log_partition,
               m.log_offset, m.created_at
        FROM deliveries AS d JOIN messages AS m ON m.message_id = d.message_id
        WHERE d.status = 'UNDELIVERED' AND d.mailbox = :mailbox
            AND d.conversation = chosen.conversation AND d.log_offset >= chosen.start
        ORDER BY d.log_offset LIMIT :rows
    )
)))) FROM chosen
