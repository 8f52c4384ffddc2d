-- Of each partition: below which offset everything has its conversation, and how far it is applied.
SELECT log_partition, coalesce(noted[log_partition + 1], 0), next_offset
FROM applied CROSS JOIN record_format ORDER BY log_partition
