SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), current_user
