-- The first offset that there is, and one value for all rows: as in append.sql, so that the statement
-- steps once. The sizes are summed up first: the length of a value is known without reading it.
WITH
    near AS (
        SELECT offset, length(value) AS size FROM log
        WHERE offset >= :start ORDER BY offset LIMIT :rows
    ),
    summed AS (SELECT offset, sum(size) OVER (ORDER BY offset) AS size_bytes FROM near),
    last AS (
        SELECT coalesce(max(offset) FILTER (WHERE size_bytes <= :bytes), min(offset)) AS offset
        FROM summed
    )
SELECT (SELECT min(offset) FROM log), json_group_array(json_array(offset, time_ms, key, hex(value)))
FROM (
    SELECT offset, time_ms, key, value FROM log
    WHERE offset >= :start AND offset <= (SELECT offset FROM last) ORDER BY offset
)
