-- Of two times that this is said the name of the last one holds, and the highest offset.
INSERT INTO ended_users (user_name, name, before_offset) VALUES (:user, :name, :before)
ON CONFLICT (user_name) DO UPDATE SET
    name = excluded.name, before_offset = max(before_offset, excluded.before_offset)
