-- A vehicle's ($1) events after a seq ($2), oldest first, at most $3, and a mebibyte.
select e.seq, e.type, rfc3339(e.at) as at, e.data, e.fleet_id, e.left_fleet
from events_page($1::text, $2::bigint, '-infinity', $3::int) e
order by e.seq
