SELECT max(number) FROM landline_migrations
