SELECT user_name, revoked_at, refused_until FROM revocations WHERE refused_until > $1
UNION
(SELECT user_name, revoked_at, refused_until FROM revocations ORDER BY revoked_at DESC LIMIT 1)
