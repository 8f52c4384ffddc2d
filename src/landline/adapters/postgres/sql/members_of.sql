-- The members of the conversation $2, in the order in which they joined, if $1 is one of them.
--
-- What is not there has the number 0, which nothing else has: it takes as long as what is not theirs.
SELECT c.kind, m.user_name, m.role, m.read_offset
FROM (SELECT) AS one LEFT JOIN LATERAL (
    SELECT conversation_id, kind FROM conversations WHERE name = $2::text COLLATE "C" OFFSET 0
) AS c ON true CROSS JOIN LATERAL (
    SELECT FROM members
    WHERE conversation_id = coalesce(c.conversation_id, 0) AND user_name = $1::text COLLATE "C"
    OFFSET 0
) AS mine CROSS JOIN LATERAL (
    SELECT user_name, role, read_offset, joined_offset, number FROM members
    WHERE conversation_id = c.conversation_id OFFSET 0
) AS m
ORDER BY joined_offset, number, user_name
