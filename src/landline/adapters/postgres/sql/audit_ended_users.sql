SELECT e.user_name, b.log_partition, b.log_offset
FROM ended_users AS e CROSS JOIN LATERAL (
    SELECT (nth - 1)::int AS log_partition, log_offset
    FROM unnest(e.before) WITH ORDINALITY AS b (log_offset, nth) OFFSET 0
) AS b
WHERE e.user_name >= $1::text COLLATE "C"
    AND (e.user_name > $1::text COLLATE "C" OR b.log_partition > $2::int)
ORDER BY e.user_name, b.log_partition LIMIT $3
