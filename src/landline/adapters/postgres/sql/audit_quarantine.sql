SELECT log_partition, log_offset, reason FROM quarantine
WHERE (log_partition, log_offset) > ($1::int, $2::bigint)
ORDER BY log_partition, log_offset LIMIT $3
