-- What a user is still owed they have not seen.
UPDATE members SET read_offset = unseen.log_offset - 1
FROM (
    SELECT b.user_name, p.conversation_id, min(p.log_offset) AS log_offset
    FROM pending AS p JOIN devices AS b ON b.mailbox_id = p.mailbox_id
    GROUP BY p.mailbox_id, p.conversation_id
) AS unseen
WHERE members.conversation_id = unseen.conversation_id AND members.user_name = unseen.user_name
