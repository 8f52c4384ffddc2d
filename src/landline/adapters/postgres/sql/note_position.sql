UPDATE record_format SET noted[$1::int + 1] = $2::bigint
