-- This worker ($2) has subscribers for these vehicles ($1), whose heads the caller has locked: what commits before is
-- in the head's seq that is returned, what commits later sees the row.
with added as (
	insert into interest (kind, key, worker)
	select 'vehicle', i.vehicle_id, $2::text from unnest($1::text[]) as i(vehicle_id) order by i.vehicle_id
	on conflict do nothing
)
select h.vehicle_id, h.seq, v.fleet_id
from unnest($1::text[]) as i(vehicle_id) join vehicle_heads h on h.vehicle_id = i.vehicle_id left join vehicles v on v.vehicle_id = i.vehicle_id
