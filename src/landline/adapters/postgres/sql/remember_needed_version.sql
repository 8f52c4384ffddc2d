INSERT INTO landline_schema (version) VALUES ($1)
