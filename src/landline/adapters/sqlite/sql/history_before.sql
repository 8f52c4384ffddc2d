-- The newest events of a conversation below an offset that are visible to a user, the newest first: those
-- from :since on, and those of former memberships in :former_of, which is null where these do not
-- count. The indexes have both in their order, so each walk ends with the page: of a membership they
-- have that order by its primary key alone, which is named for that. An event before which, on this
-- way, there are as many bytes comes without its content.
SELECT json_group_array(json_array(
    message_id, sender, CASE WHEN bytes_before < :size_bytes THEN content END,
    log_partition, log_offset, created_at, kind, data))
FROM (
    SELECT *, coalesce(sum(length(CAST(content AS BLOB))) OVER (
        ORDER BY log_offset DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ), 0) AS bytes_before
    FROM (
        SELECT * FROM (
            SELECT m.* FROM shown_messages AS m
            WHERE m.conversation = :conversation
                AND m.log_offset >= :since AND m.log_offset < :before
            ORDER BY m.log_offset DESC LIMIT :limit)
        UNION ALL
        SELECT * FROM (
            SELECT m.* FROM former_members AS f INDEXED BY sqlite_autoindex_former_members_1
            CROSS JOIN shown_messages AS m ON m.conversation = :conversation
                AND m.log_offset >= f.joined_offset AND m.log_offset < min(f.left_offset, :before)
            WHERE f.conversation_id = :former_of AND f.user_name = :user
                AND f.joined_offset < :before
            ORDER BY f.joined_offset DESC, m.log_offset DESC LIMIT :limit)
        ORDER BY log_offset DESC LIMIT :limit
    )
)
