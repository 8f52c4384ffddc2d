INSERT INTO devices (user_name, device, since) SELECT value, '*', 0 FROM json_each(:users) WHERE true
ON CONFLICT (user_name, device) DO NOTHING
