INSERT INTO purged (log_partition, before_offset) VALUES (:partition, :before_offset)
ON CONFLICT (log_partition) DO UPDATE SET before_offset = excluded.before_offset
    WHERE excluded.before_offset > purged.before_offset
