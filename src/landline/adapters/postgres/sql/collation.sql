SELECT quote_ident(datname) AS name, datcollate AS collation, datcollversion AS before,
       pg_database_collation_actual_version(oid) AS now
FROM pg_database WHERE datname = current_database()
