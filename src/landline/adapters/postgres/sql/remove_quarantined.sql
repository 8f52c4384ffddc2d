DELETE FROM quarantine USING unnest($1::int[], $2::bigint[]) AS gone (log_partition, log_offset)
WHERE (quarantine.log_partition, quarantine.log_offset) = (gone.log_partition, gone.log_offset)
