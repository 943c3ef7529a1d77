-- The wait is over for these vehicles ($1), whose heads are locked: whom no newer event saved is away.
with gone as (
	delete from timers t using unnest($1::text[]) as i(vehicle_id)
	where t.kind = 'verify' and t.vehicle_id = i.vehicle_id and t.due_at <= clock_timestamp()
	returning t.vehicle_id
), turned as materialized (
	select h.vehicle_id, h.seq as was_seq, v.fleet_id, head_turn(h, false, h.leaving, v.vehicle_id is not null) as n
	from gone g join vehicle_heads h on h.vehicle_id = g.vehicle_id and h.verifying and h.reachable
	left join vehicles v on v.vehicle_id = g.vehicle_id and v.retired_at is null
), away as (
	update vehicle_heads h set verifying = false, leaving = null, reachable = false, since = (t.n).since, reason = (t.n).reason, seq = (t.n).seq,
		changes = (t.n).changes, unstable_until = (t.n).unstable_until, unstable_told_at = (t.n).unstable_told_at
	from turned t where h.vehicle_id = t.vehicle_id
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select t.vehicle_id, (t.n).seq, clock_timestamp(), 'connectivity.changed', connectivity_json(t.n), t.fleet_id
from turned t where (t.n).seq > t.was_seq
