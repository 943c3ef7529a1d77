-- A vehicle's ($1) events after a seq ($2), oldest first, at most $3.
select e.seq, e.type, rfc3339(e.at) as at, e.data, e.fleet_id, e.left_fleet
from events e where e.vehicle_id = $1::text and e.seq > $2::bigint
order by e.seq limit $3::int
