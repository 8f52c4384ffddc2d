DELETE FROM members WHERE conversation_id = :conversation AND user_name = :user
