-- The wait is over for these vehicles ($1), whose heads are locked: whom no newer event saved is away.
with gone as (
	delete from timers t using unnest($1::text[]) as i(vehicle_id)
	where t.kind = 'verify' and t.vehicle_id = i.vehicle_id and t.due_at <= clock_timestamp()
	returning t.vehicle_id
), away as (
	update vehicle_heads h set reachable = false, verifying = false, since = clock_timestamp(), reason = h.leaving, leaving = null,
		seq = h.seq + case when v.vehicle_id is not null then 1 else 0 end
	from gone g left join vehicles v on v.vehicle_id = g.vehicle_id and v.retired_at is null
	where h.vehicle_id = g.vehicle_id and h.verifying and h.reachable
	returning h.vehicle_id, h.seq, h.since, h.reason, v.vehicle_id is not null as registered, v.fleet_id
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select a.vehicle_id, a.seq, clock_timestamp(), 'connectivity.changed',
	json_build_object('state', 'disconnected', 'since', rfc3339(a.since), 'reason', a.reason), a.fleet_id
from away a where a.registered
