-- Whom the first message of each of these conversations names, the sender first.
SELECT name, ARRAY[sender] || ARRAY(
    SELECT recipient FROM deliveries
    WHERE message_id = first.message_id AND log_offset IS NOT NULL
    ORDER BY recipient COLLATE "C")
FROM unnest($1::text[]) AS c (name) CROSS JOIN LATERAL (
    SELECT message_id, sender FROM messages
    WHERE conversation COLLATE "C" = c.name COLLATE "C" ORDER BY log_offset LIMIT 1
) AS first
