INSERT INTO devices (user_name, device, since) VALUES (:user, '*', NULL)
ON CONFLICT (user_name, device) DO UPDATE SET since = NULL
