-- The servers that are connected to this database; $1 is how this one's sessions are called. Those
-- of this version have `/2` behind their names.
SELECT DISTINCT regexp_replace(substr(application_name, length('landline-') + 1), '/2$', '')
FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'landline-%'
    AND application_name NOT IN ($1, 'landline-start', 'landline-audit')
ORDER BY 1
