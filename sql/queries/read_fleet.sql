-- $1 subject, $2 admin, $3 unused, $4 fleet.
select case when $2::bool then 3 else grant_rank($1::text, null, f.fleet_id) end, fleet_json(f), null::text
from fleets f where f.fleet_id = $4::text and $3::bool is not null
