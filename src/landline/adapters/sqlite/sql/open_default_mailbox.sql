-- Of a user who has no device any more.
UPDATE devices SET since = :offset
WHERE user_name = :user AND device = '*'
    AND NOT EXISTS (SELECT 1 FROM devices WHERE user_name = :user AND device <> '*')
