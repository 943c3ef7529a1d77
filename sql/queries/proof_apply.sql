-- Messages came from these vehicles ($1): who is stored as away, for good, is there.
with there as (
	update vehicle_heads h set reachable = true, since = clock_timestamp(), reason = 'MESSAGE', seq = h.seq + 1
	from unnest($1::text[]) as i(vehicle_id) join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	where h.vehicle_id = i.vehicle_id and not h.reachable
	returning h.vehicle_id, h.seq, h.since, h.reason, v.fleet_id
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select t.vehicle_id, t.seq, clock_timestamp(), 'connectivity.changed',
	json_build_object('state', 'connected', 'since', rfc3339(t.since), 'reason', t.reason), t.fleet_id
from there t
