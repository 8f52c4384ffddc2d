-- Answers all queries [mailbox, offset, bytes] at once: [[partition, next offset], ...] and, for
-- each query, the first rows at or beyond the offset. A row before which there are as many bytes
-- comes without its content.
SELECT
    (SELECT json_group_array(json_array(log_partition, next_offset)) FROM applied),
    (SELECT json_group_array(json((
        SELECT json_group_array(json_array(
            message_id, conversation, sender,
            CASE WHEN bytes_before < json_extract(q.value, '$[2]') THEN content END,
            log_partition, log_offset, created_at))
        FROM (
            SELECT *, coalesce(sum(length(CAST(content AS BLOB))) OVER (
                ORDER BY log_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ), 0) AS bytes_before
            FROM (
                SELECT m.message_id, m.conversation, m.sender, m.content, m.log_partition,
                       m.log_offset, m.created_at
                FROM deliveries AS d JOIN messages AS m ON m.message_id = d.message_id
                WHERE d.status = 'UNDELIVERED' AND d.mailbox = json_extract(q.value, '$[0]')
                    AND d.log_offset >= json_extract(q.value, '$[1]')
                ORDER BY d.log_offset LIMIT :limit
            )
        )
    ))) FROM json_each(:asked) AS q)
