-- Of rooms, those that were made: [[partition, next offset], ...], and of each its name, title, history,
-- and [[user, role, joined offset], ...], its members as they joined.
SELECT
    (SELECT json_group_array(json_array(log_partition, next_offset)) FROM applied),
    (SELECT json_group_array(json_array(c.name, c.title, c.history, json((
        SELECT json_group_array(json_array(user_name, role, joined_offset))
        FROM (
            SELECT w.user_name, w.role, w.joined_offset FROM members AS w
            WHERE w.conversation_id = c.conversation_id ORDER BY w.joined_offset, w.number
        )
    ))))
    FROM json_each(:names) AS asked
    CROSS JOIN conversations AS c ON c.name = asked.value
    WHERE c.history IS NOT NULL)
