SELECT coalesce(max(offset) + 1, 0) FROM log
