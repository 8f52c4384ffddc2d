-- Of a device that has begun before this place in the log. One that began behind it is another, which a
-- record that is applied again does not end.
SELECT mailbox_id FROM devices WHERE user_name = :user AND device = :device AND since < :offset
