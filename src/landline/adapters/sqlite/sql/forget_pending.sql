-- Of what the default mailbox of a user who is no more was owed until then.
DELETE FROM pending WHERE (mailbox_id, log_offset) IN (
    SELECT p.mailbox_id, p.log_offset
    FROM ended_users AS e
    CROSS JOIN devices AS d ON d.user_name = e.user_name AND d.device = '*'
    CROSS JOIN pending AS p ON p.mailbox_id = d.mailbox_id AND p.log_offset < e.before_offset
    WHERE e.user_name = :user
    ORDER BY p.log_offset LIMIT :limit)
