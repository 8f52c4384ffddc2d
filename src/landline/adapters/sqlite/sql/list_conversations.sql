-- A user's conversations behind a time and a name, the newest last event first: what their row says, what
-- the member's row says, how much is unread, and the last event that is visible, null if there is none.
--
-- All of the user's conversations are looked at, and no others; what is in them, for this page alone.
-- What is unread is counted in the index of the timeline, from the end. It lies in the membership of
-- today, as whoever joins has read what was before. The index of former memberships is named for the
-- reason that history_before.sql gives.
SELECT json_group_array(json_array(
    l.name, l.title, l.role, l.last_offset, l.last_time_ms, l.read_offset, l.unread,
    l.conversation_id, CASE WHEN m.log_offset IS NOT NULL THEN json_array(
        m.message_id, m.sender, m.content, m.log_partition, m.log_offset, m.created_at, m.kind,
        m.data) END))
FROM (
    SELECT page.conversation_id, page.name, page.title, page.last_offset, page.last_time_ms,
           w.read_offset, CASE page.kind WHEN 'room' THEN w.role END AS role,
           (SELECT count(*) FROM (
               SELECT 1 FROM (
                   SELECT u.sender FROM messages AS u
                   WHERE u.conversation = page.name AND u.log_offset > w.read_offset
                   ORDER BY u.log_offset DESC LIMIT :events)
               WHERE sender <> :user LIMIT :unread)
           ) AS unread,
           coalesce((
               SELECT u.log_offset FROM messages AS u
               WHERE u.conversation = page.name AND u.log_offset >= CASE page.history
                   WHEN 'joined' THEN w.joined_offset ELSE 0 END
               ORDER BY u.log_offset DESC LIMIT 1
           ), (
               SELECT u.log_offset FROM former_members AS f INDEXED BY sqlite_autoindex_former_members_1
               CROSS JOIN messages AS u ON u.conversation = page.name
                   AND u.log_offset >= f.joined_offset AND u.log_offset < f.left_offset
               WHERE page.history = 'joined' AND f.conversation_id = page.conversation_id
                   AND f.user_name = :user
               ORDER BY f.joined_offset DESC, u.log_offset DESC LIMIT 1
           )) AS visible_offset
    FROM (
        SELECT c.* FROM members AS o
        CROSS JOIN conversations AS c ON c.conversation_id = o.conversation_id
        WHERE o.user_name = :user AND (
            c.last_time_ms < :time_ms OR c.last_time_ms = :time_ms AND c.name > :name)
        ORDER BY c.last_time_ms DESC, c.name LIMIT :limit
    ) AS page
    CROSS JOIN members AS w
        ON w.conversation_id = page.conversation_id AND w.user_name = :user
    ORDER BY page.last_time_ms DESC, page.name
) AS l
LEFT JOIN messages AS m ON m.log_offset = l.visible_offset
