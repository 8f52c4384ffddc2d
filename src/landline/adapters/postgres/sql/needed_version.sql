SELECT max(version) FROM landline_schema
