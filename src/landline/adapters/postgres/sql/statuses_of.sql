-- Of these messages of the user $1, who is a member still: the recipients, and whether each has it, as
-- the view `message_status` shows it. A mailbox is looked into once for all messages of a conversation.
WITH sent AS MATERIALIZED (
    SELECT c.conversation_id, c.kind, m.log_partition, array_agg(m.message_id) AS ids,
           array_agg(m.log_offset) AS offsets
    FROM (SELECT DISTINCT id FROM unnest($2::uuid[]) AS a (id)) AS asked CROSS JOIN LATERAL (
        SELECT message_id, conversation, log_partition, log_offset FROM messages
        WHERE message_id = asked.id AND sender = $1::text COLLATE "C" AND kind = 'message' OFFSET 0
    ) AS m CROSS JOIN LATERAL (
        SELECT conversation_id, kind FROM conversations
        WHERE name = m.conversation COLLATE "C" OFFSET 0
    ) AS c
    GROUP BY c.conversation_id, c.kind, m.log_partition
)
SELECT message.id::text, array_agg(w.user_name), array_agg(message.log_offset <> ALL (waiting))
FROM sent CROSS JOIN LATERAL (
    SELECT user_name, joined_offset, count(*) OVER () AS members,
           bool_or(user_name = $1::text COLLATE "C") OVER () AS is_theirs
    FROM members WHERE conversation_id = sent.conversation_id OFFSET 0
) AS w CROSS JOIN LATERAL (
    SELECT ARRAY(
        SELECT p.log_offset
        FROM (
            SELECT mailbox_id FROM devices WHERE user_name = w.user_name COLLATE "C" OFFSET 0
        ) AS d CROSS JOIN LATERAL (
            SELECT log_offset FROM pending AS p
            WHERE p.mailbox_id = d.mailbox_id AND p.log_partition = sent.log_partition
                AND p.log_offset = ANY (sent.offsets) AND NOT p.is_received OFFSET 0
        ) AS p
    ) AS waiting OFFSET 0
) AS m CROSS JOIN LATERAL unnest(sent.ids, sent.offsets) AS message (id, log_offset)
WHERE is_theirs AND joined_offset <= message.log_offset
    AND (w.user_name <> $1::text COLLATE "C" OR members = 1 AND sent.kind = 'direct')
    AND NOT EXISTS (
        SELECT FROM ended_users AS e
        WHERE e.user_name = w.user_name COLLATE "C"
            AND e.before[sent.log_partition + 1] > message.log_offset)
GROUP BY message.id
