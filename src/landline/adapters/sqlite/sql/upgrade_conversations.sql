SELECT each.conversation, each.last_offset, m.created_at
FROM (
    SELECT conversation, max(log_offset) AS last_offset FROM messages GROUP BY conversation
) AS each CROSS JOIN messages AS m ON m.log_offset = each.last_offset
