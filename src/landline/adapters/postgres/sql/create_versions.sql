CREATE TABLE IF NOT EXISTS landline_schema (
    version    integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE landline_migrations (
    number     integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
-- Every server reads it at its start, also one whose rights were given before it was there.
GRANT SELECT ON landline_migrations TO PUBLIC;
INSERT INTO landline_migrations SELECT version, applied_at FROM landline_schema;
