-- The events that this transaction wrote for the vehicles of the batch ($1), where somebody has subscribers,
-- with the workers who have.
select e.vehicle_id, e.seq, e.type, rfc3339(e.at) as at, e.data, e.fleet_id, e.left_fleet, w.workers
from unnest($1::text[]) as i(vehicle_id)
join vehicle_heads h on h.vehicle_id = i.vehicle_id
join lateral (
	select e.* from events e
	where e.vehicle_id = h.vehicle_id and e.seq > h.seq - 256 and e.at >= now() and e.at < now() + interval '1 day' and e.xid = pg_current_xact_id()
) e on true
join lateral (
	select string_agg(distinct t.worker, ',') as workers from interest t
	where t.kind = 'vehicle' and t.key = e.vehicle_id or t.kind = 'fleet' and t.key in (e.fleet_id, e.left_fleet, '*')
) w on w.workers is not null
order by e.vehicle_id, e.seq
