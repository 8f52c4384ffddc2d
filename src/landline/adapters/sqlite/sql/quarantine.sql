INSERT INTO quarantine (log_partition, log_offset, value, reason) VALUES (?, ?, ?, ?)
ON CONFLICT (log_partition, log_offset) DO NOTHING
