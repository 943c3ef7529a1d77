-- Nobody was subscribed: vehicles ($1) that still have the audience ($2) of that claim are away. A session that has not
-- subscribed yet is not doubted: it still may.
with turned as materialized (
	select i.vehicle_id, (s.h).seq as was_seq, case when v.retired_at is null then v.fleet_id end as fleet_id,
		head_turn(s.h, false, 'NO_SUBSCRIBER', v.vehicle_id is not null and v.retired_at is null) as n
	from unnest($1::text[], $2::text[]) as i(vehicle_id, audience)
	cross join lateral (select h from vehicle_heads h where h.vehicle_id = i.vehicle_id offset 0) s
	left join vehicles v on v.vehicle_id = i.vehicle_id
	where audience(s.h) = i.audience and (s.h).reachable
), away as (
	update vehicle_heads h set doubted = h.linked and h.subscribed, subscribed = false, verifying = false, leaving = null,
		reachable = false, since = (t.n).since, reason = (t.n).reason, seq = (t.n).seq,
		changes = (t.n).changes, unstable_until = (t.n).unstable_until, unstable_told_at = (t.n).unstable_told_at
	from turned t where h.vehicle_id = t.vehicle_id
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select t.vehicle_id, (t.n).seq, clock_timestamp(), 'connectivity.changed', connectivity_json(t.n), t.fleet_id
from turned t where (t.n).seq > t.was_seq
