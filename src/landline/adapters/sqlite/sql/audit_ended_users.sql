SELECT user_name, before_offset FROM ended_users WHERE user_name > ? ORDER BY user_name LIMIT ?
