-- Notes how far the log has been applied, unless that was done: what comes later is looked at again.
UPDATE record_format SET noted = ARRAY(
    SELECT coalesce(a.next_offset, 0)
    FROM generate_series(0, (SELECT coalesce(max(log_partition), -1) FROM applied)) AS i
    LEFT JOIN applied AS a ON a.log_partition = i
    ORDER BY i)
WHERE noted IS NULL
