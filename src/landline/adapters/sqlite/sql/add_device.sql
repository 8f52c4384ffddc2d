INSERT INTO devices (user_name, device, since, seen_at)
VALUES (:user, :device, :offset, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
ON CONFLICT (user_name, device) DO NOTHING
