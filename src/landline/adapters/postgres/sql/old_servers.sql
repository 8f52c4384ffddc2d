-- The servers of the version before that are connected to this database: their sessions have no
-- `/2` behind their names.
SELECT DISTINCT substr(application_name, length('landline-') + 1)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'landline-%'
    AND application_name NOT LIKE '%/2'
    AND application_name NOT IN ('landline-start', 'landline-audit')
ORDER BY 1
