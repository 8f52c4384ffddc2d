DROP TABLE deliveries;
UPDATE record_format SET format = 2, noted = NULL;

-- What the recipients have: everybody but the sender, of a room those who were members by then and
-- still are. Of who is no more nobody can say it.
CREATE VIEW message_status AS
SELECT m.message_id, w.user_name AS recipient,
       CASE WHEN EXISTS (
           SELECT FROM devices AS d JOIN pending AS p USING (mailbox_id)
           WHERE d.user_name = w.user_name AND p.log_partition = m.log_partition
               AND p.log_offset = m.log_offset AND NOT p.is_received
       ) THEN 'UNDELIVERED' ELSE 'DELIVERED' END AS status
FROM messages AS m
JOIN conversations AS c ON c.name = m.conversation COLLATE "C"
JOIN members AS w USING (conversation_id)
WHERE m.kind = 'message' AND w.joined_offset <= m.log_offset
    AND (w.user_name <> m.sender COLLATE "C" OR c.kind = 'direct' AND NOT EXISTS (
        SELECT FROM members AS o
        WHERE o.conversation_id = w.conversation_id AND o.user_name <> w.user_name))
    AND NOT EXISTS (
        SELECT FROM ended_users AS e
        WHERE e.user_name = w.user_name COLLATE "C"
            AND e.before[m.log_partition + 1] > m.log_offset);
