SELECT user_name, revoked_at, refused_until FROM revocations WHERE user_name = :user
