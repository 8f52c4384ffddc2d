SELECT log_partition, before_offset FROM purged
