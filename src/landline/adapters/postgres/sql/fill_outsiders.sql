-- Whoever is owed messages of a conversation that they are not in.
INSERT INTO outsiders (conversation_id, user_name)
SELECT DISTINCT p.conversation_id, d.user_name
FROM pending AS p JOIN devices AS d USING (mailbox_id)
LEFT JOIN members AS m USING (conversation_id, user_name)
WHERE m.user_name IS NULL
ON CONFLICT (conversation_id, user_name) DO NOTHING
