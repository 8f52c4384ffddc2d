SELECT min(offset) FROM log
