-- Of messages that a user has sent, to conversations of which they are a member: who is to have each, and
-- whether they have. As the view `message_status`, with one look at each row of a mailbox that is
-- still owed one of them.
WITH sent AS MATERIALIZED (
    SELECT m.message_id, m.log_offset, c.conversation_id, c.kind
    FROM (SELECT DISTINCT value FROM json_each(:ids)) AS asked
    CROSS JOIN messages AS m ON m.message_id = asked.value
    CROSS JOIN conversations AS c ON c.name = m.conversation
    CROSS JOIN members AS o
        ON o.conversation_id = c.conversation_id AND o.user_name = :sender
    WHERE m.sender = :sender AND m.kind = 'message'
), owed AS MATERIALIZED (
    SELECT p.log_offset, d.user_name
    FROM sent
    CROSS JOIN pending AS p ON p.log_offset = sent.log_offset
    CROSS JOIN devices AS d ON d.mailbox_id = p.mailbox_id
    WHERE NOT p.is_received
)
SELECT json_group_array(json_array(
    sent.message_id, r.user_name, (sent.log_offset, r.user_name) NOT IN owed))
FROM sent
CROSS JOIN members AS r ON r.conversation_id = sent.conversation_id
WHERE r.joined_offset <= sent.log_offset AND (
    r.user_name <> :sender
    OR sent.kind = 'direct' AND NOT EXISTS (  -- with oneself
        SELECT 1 FROM members AS x
        WHERE x.conversation_id = sent.conversation_id AND x.user_name <> :sender)
) AND NOT EXISTS (
    SELECT 1 FROM ended_users AS e
    WHERE e.user_name = r.user_name AND e.before_offset > sent.log_offset)
