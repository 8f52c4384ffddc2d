SELECT cluster_id, topic_id, partitions, epoch FROM log_identity
