INSERT INTO landline_migrations (number) VALUES ($1)
