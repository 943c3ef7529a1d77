-- Vehicles ($1) that changed too often, and have not for a minute: apps are told where they have come to.
with due as (
	delete from timers t where t.kind = 'quiet' and t.vehicle_id = any($1::text[]) and t.due_at <= clock_timestamp()
	returning t.vehicle_id
), quiet as (
	update vehicle_heads h set unstable_until = null, unstable_told_at = null, changes = '{}',
		seq = h.seq + case when v.vehicle_id is not null and v.retired_at is null then 1 else 0 end
	from due d left join vehicles v on v.vehicle_id = d.vehicle_id
	where h.vehicle_id = d.vehicle_id and h.unstable_until <= clock_timestamp()
	returning h.vehicle_id, h.seq, connectivity_json(h) as data, v.vehicle_id is not null and v.retired_at is null as registered, v.fleet_id
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select q.vehicle_id, q.seq, clock_timestamp(), 'connectivity.changed', q.data, q.fleet_id from quiet q where q.registered
