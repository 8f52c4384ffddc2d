DELETE FROM quarantine WHERE (log_partition, log_offset) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))
