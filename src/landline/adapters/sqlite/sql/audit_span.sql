SELECT coalesce(min(offset), 0), coalesce(max(offset) + 1, 0) FROM log
