-- What new messages leave owed. `named`: [offset, conversation, user, device that sent it if it is to be
-- left out, whether the user is who sent it], one for each user; `rooms`: [offset, conversation,
-- sender, device] for the members of today. `received`: [offset, user, device] are receipts of these
-- messages, so their rows are not written at all. In the order of the table: its pages are written
-- one after the other.
WITH
    received (log_offset, user_name, device) AS MATERIALIZED (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
        FROM json_each(:received)
    ),
    named (log_offset, conversation_id, user_name, sent_from, is_own) AS MATERIALIZED (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
               json_extract(value, '$[2]'), json_extract(value, '$[3]'),
               json_extract(value, '$[4]')
        FROM json_each(:named)
    ),
    rooms (log_offset, conversation_id, sender, sent_from) AS MATERIALIZED (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
               json_extract(value, '$[2]'), json_extract(value, '$[3]')
        FROM json_each(:rooms)
    ),
    owed AS (
        SELECT log_offset, conversation_id, user_name, sent_from, is_own FROM named
        UNION ALL
        SELECT r.log_offset, r.conversation_id, m.user_name,
               CASE WHEN m.user_name = r.sender THEN r.sent_from END, m.user_name = r.sender
        FROM rooms AS r CROSS JOIN members AS m ON m.conversation_id = r.conversation_id
    )
INSERT INTO pending (mailbox_id, log_offset, conversation_id, is_received)
SELECT mailbox_id, log_offset, conversation_id, is_received
FROM (
    -- CASE, because it takes null for false: to tell the two apart SQLite would walk all of `received`
    -- for each row.
    SELECT d.mailbox_id, o.log_offset, o.conversation_id,
           CASE
               WHEN (o.log_offset, o.user_name) IN (SELECT log_offset, user_name FROM received)
               THEN 1 ELSE o.is_own
           END AS is_received,
           CASE
               WHEN (o.log_offset, o.user_name, d.device) IN (
                   SELECT log_offset, user_name, device FROM received)
               THEN 1
               -- Any receipt of the user ends the debt of the default mailbox.
               WHEN d.device = '*' AND (o.log_offset, o.user_name) IN (
                   SELECT log_offset, user_name FROM received)
               THEN 1 ELSE 0
           END AS is_over
    FROM owed AS o CROSS JOIN devices AS d ON d.user_name = o.user_name
    WHERE d.since IS NOT NULL AND d.device IS NOT o.sent_from
)
WHERE NOT is_over
ORDER BY mailbox_id, log_offset
-- A message that was missing may have rows.
ON CONFLICT (mailbox_id, log_offset) DO NOTHING
