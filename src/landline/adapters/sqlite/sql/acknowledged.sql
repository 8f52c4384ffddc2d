-- What receipts [message, user, device, offset] mean: the rows [mailbox, offset] that go, and those whose
-- message the user has received elsewhere.
SELECT json_group_array(json_array(mailbox_id, log_offset)) FILTER (WHERE is_over),
       json_group_array(json_array(mailbox_id, log_offset)) FILTER (WHERE NOT is_over)
FROM (
    SELECT d.mailbox_id, m.log_offset,
           d.device IN (json_extract(value, '$[2]'), '*') AS is_over
    FROM json_each(:receipts)
    CROSS JOIN messages AS m ON m.message_id = json_extract(value, '$[0]')
    CROSS JOIN devices AS d ON d.user_name = json_extract(value, '$[1]')
    WHERE m.log_offset < json_extract(value, '$[3]')
)
