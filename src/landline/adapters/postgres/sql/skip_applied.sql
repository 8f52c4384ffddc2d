-- Puts partitions at their first record: what was below it is gone, and can never be read.
UPDATE applied AS a SET next_offset = f.first_offset
FROM unnest($1::int[], $2::bigint[]) AS f (log_partition, first_offset)
WHERE a.log_partition = f.log_partition AND a.next_offset < f.first_offset
