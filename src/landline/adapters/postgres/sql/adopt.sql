INSERT INTO log_identity (cluster_id, topic_id, partitions, epoch) VALUES ($1, $2, $3, $4)
ON CONFLICT (is_only) DO NOTHING
