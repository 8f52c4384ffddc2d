-- Whoever is owed something has seen what is before it; all others, everything (note_conversations).
UPDATE members AS m SET read_offset = owed.first_offset - 1
FROM (
    SELECT p.conversation_id, d.user_name, min(p.log_offset) AS first_offset
    FROM pending AS p JOIN devices AS d USING (mailbox_id)
    GROUP BY p.conversation_id, d.user_name
) AS owed
WHERE (m.conversation_id, m.user_name) = (owed.conversation_id, owed.user_name)
