SELECT coalesce(max(name), ''), count(*) FROM conversations
