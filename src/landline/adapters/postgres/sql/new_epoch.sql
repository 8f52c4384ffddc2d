-- Because of the row's lock, the second of two finds that the epoch has gone.
UPDATE log_identity SET cluster_id = $1, topic_id = $2, partitions = $3, epoch = epoch + 1
WHERE epoch = $4
RETURNING cluster_id, topic_id, partitions, epoch
