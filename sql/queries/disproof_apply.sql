-- Nobody was subscribed: vehicles ($1) that still have the audience ($2) of that claim are away. A session that has not
-- subscribed yet is not doubted: it still may.
with away as (
	update vehicle_heads h set reachable = false, doubted = h.linked and h.subscribed, subscribed = false, verifying = false, since = clock_timestamp(), reason = 'NO_SUBSCRIBER', leaving = null,
		seq = h.seq + case when v.vehicle_id is not null then 1 else 0 end
	from unnest($1::text[], $2::text[]) as i(vehicle_id, audience) left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	where h.vehicle_id = i.vehicle_id and audience(h) = i.audience and h.reachable
	returning h.vehicle_id, h.seq, h.since, h.reason, v.vehicle_id is not null as registered, v.fleet_id
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select a.vehicle_id, a.seq, clock_timestamp(), 'connectivity.changed',
	json_build_object('state', 'disconnected', 'since', rfc3339(a.since), 'reason', a.reason), a.fleet_id
from away a where a.registered
