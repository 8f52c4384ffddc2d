-- Puts $1 partitions at the offset $2: those without a position, or ($3) all that are below it.
INSERT INTO applied AS a (log_partition, next_offset)
SELECT generate_series(0, $1::int - 1), $2::bigint
UNION SELECT log_partition, $2::bigint FROM applied WHERE $3
ORDER BY 1
ON CONFLICT (log_partition) DO UPDATE SET next_offset = excluded.next_offset
    WHERE $3 AND a.next_offset < excluded.next_offset
