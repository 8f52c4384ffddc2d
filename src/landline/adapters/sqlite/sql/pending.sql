-- Answers all queries [user, device, offset, bytes] at once: [[partition, next offset], ...] and, for each
-- query, its mailbox, the default mailbox if that is another, whether the mailbox gets nothing new,
-- and the first rows of both at or beyond the offset. A row before which there are as many bytes
-- comes without its content.
WITH asked AS MATERIALIZED (
    SELECT own.mailbox_id AS own_id, home.mailbox_id AS home_id, q.start, q.size_bytes,
           -- A default mailbox that is not known will get what is new.
           own.since IS NULL AND (own.mailbox_id IS NOT NULL OR q.device <> '*') AS is_closed
    FROM (
        SELECT key, json_extract(value, '$[0]') AS user_name, json_extract(value, '$[1]') AS device,
               json_extract(value, '$[2]') AS start, json_extract(value, '$[3]') AS size_bytes
        FROM json_each(:asked)
    ) AS q
    LEFT JOIN devices AS own ON own.user_name = q.user_name AND own.device = q.device
    LEFT JOIN devices AS home
        ON home.user_name = q.user_name AND home.device = '*' AND q.device <> '*'
    ORDER BY q.key
)
SELECT
    (SELECT json_group_array(json_array(log_partition, next_offset)) FROM applied),
    (SELECT json_group_array(json_array(own_id, home_id, is_closed, json((
        SELECT json_group_array(json_array(
            message_id, conversation, sender,
            CASE WHEN bytes_before < asked.size_bytes THEN content END,
            log_partition, log_offset, created_at, kind, data, conversation_id, is_received))
        FROM (
            SELECT *, coalesce(sum(length(CAST(content AS BLOB))) OVER (
                ORDER BY log_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ), 0) AS bytes_before
            FROM (
                SELECT m.*, p.conversation_id, p.is_received
                FROM (
                    SELECT * FROM (
                        SELECT log_offset, conversation_id, is_received FROM pending
                        WHERE mailbox_id = asked.own_id AND log_offset >= asked.start
                        ORDER BY log_offset LIMIT :limit)
                    UNION ALL
                    SELECT * FROM (
                        SELECT log_offset, conversation_id, is_received FROM pending
                        WHERE mailbox_id = asked.home_id AND log_offset >= asked.start
                        ORDER BY log_offset LIMIT :limit)
                    ORDER BY log_offset LIMIT :limit
                ) AS p CROSS JOIN shown_messages AS m ON m.log_offset = p.log_offset
            )
        )
    )))) FROM asked)
