-- Where the vehicles of a fleet ($1; '*': all) have come to: a page of $3, behind a vehicle ($2). One of the two is empty, and each goes
-- by an index.
select v.vehicle_id, h.seq, v.fleet_id
from (
	(select f.vehicle_id, f.fleet_id from vehicles f
	where $1::text <> '*' and f.fleet_id = $1::text and f.retired_at is null and f.vehicle_id > $2::text order by f.vehicle_id limit $3::int)
	union all
	(select a.vehicle_id, a.fleet_id from vehicles a
	where $1::text = '*' and a.retired_at is null and a.vehicle_id > $2::text order by a.vehicle_id limit $3::int)
) v left join vehicle_heads h on h.vehicle_id = v.vehicle_id
order by v.vehicle_id
