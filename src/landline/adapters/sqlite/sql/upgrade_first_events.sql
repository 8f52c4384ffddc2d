-- Of these conversations the sender and the recipients of the first message. A row without an offset is
-- the receipt of somebody who was owed nothing.
SELECT asked.value, m.sender, (
    SELECT json_group_array(d.recipient) FROM deliveries_1 AS d
    WHERE d.message_id = m.message_id AND d.log_offset IS NOT NULL)
FROM json_each(:conversations) AS asked
CROSS JOIN messages AS m ON m.log_offset = (
    SELECT min(log_offset) FROM messages WHERE conversation = asked.value)
