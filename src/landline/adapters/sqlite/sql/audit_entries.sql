SELECT offset, time_ms, key, value FROM log WHERE offset >= ? AND offset < ?
ORDER BY offset LIMIT ?
