-- Messages came from these vehicles ($1): who is stored as away, for good, is there. An absence that is being verified is
-- waited out anew (at least $2 milliseconds): the message may be from before it, and is a sign of life all the same.
with turned as materialized (
	select h.vehicle_id, h.seq as was_seq, v.fleet_id, head_turn(h, true, 'MESSAGE', true) as n
	from unnest($1::text[]) as i(vehicle_id) join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	join vehicle_heads h on h.vehicle_id = i.vehicle_id and not h.reachable
), there as (
	update vehicle_heads h set reachable = true, since = (t.n).since, reason = (t.n).reason, seq = (t.n).seq,
		changes = (t.n).changes, unstable_until = (t.n).unstable_until, unstable_told_at = (t.n).unstable_told_at
	from turned t where h.vehicle_id = t.vehicle_id
), prolonged as (
	update timers t set due_at = greatest(t.due_at, clock_timestamp() + make_interval(secs => $2::int / 1000.0))
	from unnest($1::text[]) as i(vehicle_id) join vehicle_heads h on h.vehicle_id = i.vehicle_id and h.verifying
	where t.kind = 'verify' and t.vehicle_id = i.vehicle_id
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select t.vehicle_id, (t.n).seq, clock_timestamp(), 'connectivity.changed', connectivity_json(t.n), t.fleet_id
from turned t where (t.n).seq > t.was_seq
