SELECT log_partition, log_offset, value FROM quarantine
WHERE (log_partition, log_offset) > ($1::int, $2::bigint)
ORDER BY log_partition, log_offset LIMIT $3
