SELECT user_name, revoked_at, refused_until FROM revocations
WHERE refused_until > :now OR revoked_at = (SELECT max(revoked_at) FROM revocations)
