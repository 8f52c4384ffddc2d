SELECT user_name, revoked_at, refused_until FROM revocations
WHERE revoked_at > :revoked_at ORDER BY revoked_at LIMIT :limit
