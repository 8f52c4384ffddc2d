-- Of these conversations those that are known, with their numbers; of these users those without a
-- default mailbox.
SELECT
    (SELECT json_group_array(json_array(c.name, c.conversation_id))
     FROM json_each(:conversations) AS asked CROSS JOIN conversations AS c ON c.name = asked.value),
    (SELECT json_group_array(asked.value) FROM json_each(:users) AS asked
     WHERE NOT EXISTS (
         SELECT 1 FROM devices WHERE user_name = asked.value AND device = '*'))
