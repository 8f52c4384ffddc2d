SELECT log_partition, next_offset FROM applied
