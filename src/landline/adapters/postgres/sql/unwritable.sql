SELECT name FROM unnest($1::text[]) AS t (name)
WHERE to_regclass(name) IS NULL
   OR NOT (has_table_privilege(name, 'SELECT') AND has_table_privilege(name, 'INSERT')
           AND has_table_privilege(name, 'UPDATE'))
   OR name = ANY ($2::text[]) AND NOT has_table_privilege(name, 'DELETE')
