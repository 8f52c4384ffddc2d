SELECT log_partition, log_offset, value FROM quarantine
WHERE (log_partition, log_offset) > (?, ?) ORDER BY log_partition, log_offset LIMIT ?
