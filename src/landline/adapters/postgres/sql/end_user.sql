-- Enters that the user $1 is no more, and is shown as $2 below the offsets of $3, one for each
-- partition. Of two times that this is said the name of the last one holds, and the highest offsets.
INSERT INTO ended_users AS e (user_name, name, before) VALUES ($1, $2, $3::bigint[])
ON CONFLICT (user_name) DO UPDATE SET name = excluded.name, before = ARRAY(
    SELECT greatest(e.before[i], excluded.before[i])
    FROM generate_series(1, greatest(cardinality(e.before), cardinality(excluded.before))) AS i
    ORDER BY i)
