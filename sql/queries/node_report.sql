-- What a node says of itself: $1 its name, $2 version, $3 seconds since it started, $4 whether it is ready, $5 whether it drains, $6 its
-- checks, $7 its load.
insert into nodes (node, version, started_at, seen_at, ready, draining, checks, load)
values ($1::text, $2::text, clock_timestamp() - make_interval(secs => $3::int), clock_timestamp(), $4::bool, $5::bool, $6::json, $7::json)
on conflict (node) do update set version = excluded.version, started_at = excluded.started_at, seen_at = excluded.seen_at,
	ready = excluded.ready, draining = excluded.draining, checks = excluded.checks, load = excluded.load
