-- Who is still owed something, each found by one look into the index.
WITH RECURSIVE users (user_name) AS (
    SELECT min(mailbox) FROM deliveries_1 WHERE status = 'UNDELIVERED'
    UNION ALL
    SELECT (SELECT min(mailbox) FROM deliveries_1
            WHERE status = 'UNDELIVERED' AND mailbox > users.user_name)
    FROM users WHERE user_name IS NOT NULL
)
SELECT user_name FROM users WHERE user_name IS NOT NULL
