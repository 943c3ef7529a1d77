-- The events that this transaction wrote for the vehicles of the batch ($1), where somebody has subscribers, with the workers who
-- have. They are the last of their vehicle: it is looked for them backwards, eight at a time, until one is not among them.
with recursive watched as materialized (
	select i.vehicle_id, (select string_agg(t.worker, ',') from interest t where t.kind = 'vehicle' and t.key = i.vehicle_id) as workers,
		(select true from interest t where t.kind = 'fleet' limit 1) as has_fleets
	from unnest($1::text[]) as i(vehicle_id)
), told as (
	select w.workers, w.has_fleets, h.seq - 7 as goes_on, e.*
	from watched w join vehicle_heads h on h.vehicle_id = w.vehicle_id cross join lateral (
		select e.* from events e
		where e.vehicle_id = h.vehicle_id and e.seq > h.seq - 8 and e.at >= now() and e.at < now() + interval '1 day' offset 0) e
	where (w.workers is not null or w.has_fleets) and e.xid = pg_current_xact_id()
	union all
	select t.workers, t.has_fleets, t.seq - 8, e.*
	from told t cross join lateral (
		select e.* from events e
		where e.vehicle_id = t.vehicle_id and e.seq >= t.seq - 8 and e.seq < t.seq and e.at >= now() and e.at < now() + interval '1 day' offset 0) e
	where t.seq = t.goes_on and e.xid = pg_current_xact_id()
)
select s.vehicle_id, s.seq, s.type, rfc3339(s.at) as at, s.data, s.fleet_id, s.left_fleet, s.workers
from (
	select t.vehicle_id, t.seq, t.type, t.at, t.data, t.fleet_id, t.left_fleet, case when t.has_fleets then (
		select string_agg(distinct w.worker, ',') from (
			select unnest(string_to_array(t.workers, ',')) as worker
			union all select f.worker from interest f where f.kind = 'fleet' and f.key in (t.fleet_id, t.left_fleet, '*')) w
		) else t.workers end as workers
	from told t
	offset 0
) s
where s.workers is not null
order by s.vehicle_id, s.seq
