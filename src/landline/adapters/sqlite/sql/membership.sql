-- Where a user stands in a conversation: [[partition, next offset], ...] and [conversation, history,
-- offset at which they joined]; null in its place where they are no member, or there is no such thing.
SELECT
    (SELECT json_group_array(json_array(log_partition, next_offset)) FROM applied),
    (SELECT json_array(c.conversation_id, c.history, w.joined_offset)
     FROM conversations AS c
     CROSS JOIN members AS w ON w.conversation_id = c.conversation_id AND w.user_name = :user
     WHERE c.name = :conversation)
