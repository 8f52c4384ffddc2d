INSERT INTO revocations (user_name, revoked_at, refused_until)
VALUES (:user,
        max(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER),
            (SELECT coalesce(max(revoked_at), 0) + 1 FROM revocations)),
        :until)
ON CONFLICT (user_name) DO UPDATE
SET revoked_at = excluded.revoked_at,
    refused_until = coalesce(excluded.refused_until, refused_until)
