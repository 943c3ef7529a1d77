-- A vehicle's ($1) events after a seq ($4) that a subject ($2, admin $3) may see, oldest first, at most $5, and a mebibyte.
select e.seq, e.type, rfc3339(e.at) as at, e.data
from vehicles v cross join lateral events_page(v.vehicle_id, $4::bigint,
	case when $3::bool then '-infinity' else grant_since($2::text, v.vehicle_id, v.fleet_id) end, $5::int) e
where v.vehicle_id = $1::text and v.retired_at is null
order by e.seq
