-- Whether this worker ($2) still holds a lease ($1) under its epoch ($3): read before every CONNECT.
select exists (select from leases where name = $1::text and holder = $2::text and epoch = $3::bigint and expires_at > clock_timestamp())
