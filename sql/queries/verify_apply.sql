-- The wait is over for these vehicles ($1), whose heads are locked: whom no newer event saved is away. Heads and vehicles are looked up by
-- their key, whatever a plan was made on: by the index of those that are reachable, each of them was compared with each of the batch.
with gone as (
	delete from timers t where t.kind = 'verify' and t.vehicle_id = any($1::text[]) and t.due_at <= clock_timestamp()
	returning t.vehicle_id
), turned as materialized (
	select g.vehicle_id, (s.h).seq as was_seq, case when v.retired_at is null then v.fleet_id end as fleet_id,
		head_turn(s.h, false, (s.h).leaving, v.vehicle_id is not null and v.retired_at is null) as n
	from gone g cross join lateral (select h from vehicle_heads h where h.vehicle_id = g.vehicle_id offset 0) s
	left join vehicles v on v.vehicle_id = g.vehicle_id
	where (s.h).verifying and (s.h).reachable
), away as (
	update vehicle_heads h set verifying = false, leaving = null, reachable = false, since = (t.n).since, reason = (t.n).reason, seq = (t.n).seq,
		changes = (t.n).changes, unstable_until = (t.n).unstable_until, unstable_told_at = (t.n).unstable_told_at
	from turned t where h.vehicle_id = t.vehicle_id
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select t.vehicle_id, (t.n).seq, clock_timestamp(), 'connectivity.changed', connectivity_json(t.n), t.fleet_id
from turned t where (t.n).seq > t.was_seq
