-- The oldest events of a conversation above an offset that are visible to a user, the oldest first: as
-- history_before.sql, the other way. The walk through former memberships begins with the last one that
-- had begun there.
SELECT json_group_array(json_array(
    message_id, sender, CASE WHEN bytes_before < :size_bytes THEN content END,
    log_partition, log_offset, created_at, kind, data))
FROM (
    SELECT *, coalesce(sum(length(CAST(content AS BLOB))) OVER (
        ORDER BY log_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ), 0) AS bytes_before
    FROM (
        SELECT * FROM (
            SELECT m.* FROM shown_messages AS m
            WHERE m.conversation = :conversation AND m.log_offset > max(:since - 1, :after)
            ORDER BY m.log_offset LIMIT :limit)
        UNION ALL
        SELECT * FROM (
            SELECT m.* FROM former_members AS f INDEXED BY sqlite_autoindex_former_members_1
            CROSS JOIN shown_messages AS m ON m.conversation = :conversation
                AND m.log_offset > max(f.joined_offset - 1, :after)
                AND m.log_offset < f.left_offset
            WHERE f.conversation_id = :former_of AND f.user_name = :user
                AND f.joined_offset >= coalesce((
                    SELECT max(b.joined_offset) FROM former_members AS b
                    WHERE b.conversation_id = :former_of AND b.user_name = :user
                        AND b.joined_offset <= :after), 0)
            ORDER BY f.joined_offset, m.log_offset LIMIT :limit)
        ORDER BY log_offset LIMIT :limit
    )
)
