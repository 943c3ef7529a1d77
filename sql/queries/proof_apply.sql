-- Messages came from these vehicles ($1); an absence that is being verified is waited out for at least $2 milliseconds from now. Those of $3
-- may have been said a while ago: they are no reason to call a vehicle there again that has gone since.
with prolonged as (
	update timers t set due_at = greatest(t.due_at, clock_timestamp() + make_interval(secs => $2::int / 1000.0))
	from unnest($3::text[]) as i(vehicle_id) join vehicle_heads h on h.vehicle_id = i.vehicle_id and h.verifying
	where t.kind = 'verify' and t.vehicle_id = i.vehicle_id
)
select prove($1::text[], $2::int)
