-- The number in the header is no proof: a Landline of version 1 that opens the file within the moment in
-- which the header's page is in the write-ahead log alone writes 1, before it fails.
SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deliveries')
