ALTER TABLE deliveries ADD COLUMN conversation TEXT
