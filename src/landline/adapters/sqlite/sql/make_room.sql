-- Only what has never had members is made.
UPDATE conversations SET kind = 'room', history = :history, title = :title
WHERE conversation_id = :conversation
    AND NOT EXISTS (SELECT 1 FROM members WHERE conversation_id = :conversation)
    AND NOT EXISTS (SELECT 1 FROM former_members WHERE conversation_id = :conversation)
