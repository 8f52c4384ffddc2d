INSERT INTO applied (log_partition, next_offset) SELECT ?, ?
WHERE ? = coalesce((SELECT next_offset FROM applied WHERE log_partition = ?), 0)
ON CONFLICT (log_partition) DO UPDATE SET next_offset = excluded.next_offset
