-- Some entries from the low end, up to the first that is not old. The last one of all stays: the next
-- is counted from it. (Python counts no rows of a statement that begins with WITH.)
DELETE FROM log
WHERE offset <= (SELECT max(offset) FROM (SELECT offset FROM log ORDER BY offset LIMIT :limit))
    AND offset < coalesce((
        SELECT min(offset) FROM (SELECT offset, time_ms FROM log ORDER BY offset LIMIT :limit)
        WHERE time_ms >= :before), :applied)
    AND offset < :applied
    AND offset < (SELECT max(offset) FROM log)
