-- [conversation, user, offset]: of whoever is a member. Each is looked up first, or all that the user is
-- a member of would be walked.
WITH seen (conversation_id, user_name, read_offset) AS MATERIALIZED (
    SELECT c.conversation_id, json_extract(value, '$[1]'), json_extract(value, '$[2]')
    FROM json_each(:reads)
    CROSS JOIN conversations AS c ON c.name = json_extract(value, '$[0]')
)
UPDATE members SET read_offset = seen.read_offset FROM seen
WHERE members.conversation_id = seen.conversation_id AND members.user_name = seen.user_name
    AND members.read_offset < seen.read_offset
