-- The broker keeps what comes for this feed ($1) from now on, whoever holds it.
update leases set subscribed = true where name = $1::text and holder = $2::text and epoch = $3::bigint and not subscribed
