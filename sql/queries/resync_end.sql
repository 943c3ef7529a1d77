-- The broker has named everybody who is there: who is stored as reachable and was not named since $1 (microseconds
-- since 1970) goes through verification of $2 milliseconds. Only while the lease of the lifecycle feed ($3, $4, $5) stands.
with missing as (
	select h.vehicle_id from vehicle_heads h
	where h.reachable and not h.verifying and (h.seen_at is null or h.seen_at < to_timestamp($1::bigint / 1000000.0))
		and exists (select from leases l where l.name = $3::text and l.holder = $4::text and l.epoch = $5::bigint)
	order by h.vehicle_id for update
), marked as (
	update vehicle_heads h set verifying = true, leaving = 'NOT_NAMED', linked = false from missing m where h.vehicle_id = m.vehicle_id
)
insert into timers (kind, vehicle_id, due_at)
select 'verify', m.vehicle_id, clock_timestamp() + make_interval(secs => $2::int / 1000.0) from missing m
on conflict (kind, vehicle_id) do update set due_at = excluded.due_at
