-- Under a lock, so that nobody else chooses the next `revoked_at` before this one is committed.
INSERT INTO revocations (user_name, revoked_at, refused_until)
VALUES ($1,
        greatest((extract(epoch FROM clock_timestamp()) * 1000)::bigint,
                 (SELECT max(revoked_at) + 1 FROM revocations)),
        $2)
ON CONFLICT (user_name) DO UPDATE
SET revoked_at = excluded.revoked_at,
    refused_until = coalesce(excluded.refused_until, revocations.refused_until)
RETURNING user_name, revoked_at, refused_until
