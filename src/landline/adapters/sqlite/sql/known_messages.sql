-- Of [offset, id] the ids of those that are stored, or were until they were purged: its part of the log
-- applied again does not bring a message back. What is owed was not purged, so it is missing.
SELECT json_group_array(json_extract(value, '$[1]'))
FROM json_each(:messages)
WHERE EXISTS (SELECT 1 FROM messages WHERE message_id = json_extract(value, '$[1]'))
    OR json_extract(value, '$[0]') < (
        SELECT before_offset FROM purged WHERE log_partition = :partition)
    AND NOT EXISTS (SELECT 1 FROM pending WHERE log_offset = json_extract(value, '$[0]'))
