SELECT log_partition, log_offset, reason FROM quarantine
WHERE (log_partition, log_offset) > (?, ?) ORDER BY log_partition, log_offset LIMIT ?
