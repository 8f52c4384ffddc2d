UPDATE members SET role = :role WHERE conversation_id = :conversation AND user_name = :user
