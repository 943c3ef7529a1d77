-- A vehicle's ($1) events after a seq ($4) that a subject ($2, admin $3) may see, oldest first, at most $5.
select e.seq, e.type, rfc3339(e.at) as at, e.data
from vehicles v join events e on e.vehicle_id = v.vehicle_id
where v.vehicle_id = $1::text and v.retired_at is null and e.seq > $4::bigint
	and ($3::bool or e.at >= grant_since($2::text, v.vehicle_id, v.fleet_id))
order by e.seq limit $5::int
