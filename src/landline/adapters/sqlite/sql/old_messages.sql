-- Looks at some messages from an offset on, up to the first that is not old: those that are owed to
-- nobody, and the offset to go on from, null where there is nothing old beyond.
WITH
    near AS MATERIALIZED (
        SELECT log_offset, created_at FROM messages
        WHERE log_offset >= :after ORDER BY log_offset LIMIT :limit
    ),
    old AS MATERIALIZED (
        SELECT log_offset FROM near
        WHERE log_offset < coalesce(
            (SELECT min(log_offset) FROM near WHERE created_at >= :before),
            (SELECT max(log_offset) + 1 FROM near))
    )
SELECT
    (SELECT json_group_array(log_offset) FROM old
     WHERE NOT EXISTS (SELECT 1 FROM pending WHERE pending.log_offset = old.log_offset)),
    (SELECT CASE WHEN count(*) = :limit THEN max(log_offset) + 1 END FROM old)
