SELECT user_name, revoked_at, refused_until FROM revocations
WHERE revoked_at > $1 ORDER BY revoked_at LIMIT $2
