UPDATE conversations SET title = :title WHERE conversation_id = :conversation
