-- $1 subject, $2 admin, $3 unused, $4 fleet ('*': all vehicles, for admin alone), $5 limit, $6 cursor (microseconds and vehicle of the last one
-- seen; null: from the newest): a page of the security alerts, newest first, of the last 5000 that there are.
with v as (
	select * from overseen($1::text, $2::bool, $4::text) where $3::bool is not null
), newest as (
	select e.at, e.vehicle_id, e.seq, e.fleet_id, e.data from events e
	where e.type = 'security.alert' and (e.at, e.vehicle_id) < (coalesce('epoch'::timestamptz + split_part($6::text, '.', 1)::bigint * interval '1 microsecond', 'infinity'),
		coalesce(substr($6::text, strpos($6::text, '.') + 1), ''))
	order by e.at desc, e.vehicle_id desc limit 5000
), shown as (
	select a.*, row_number() over (order by a.at desc, a.vehicle_id desc) as n
	from v join newest a on v.fleet_id in ('*', a.fleet_id)
	order by a.at desc, a.vehicle_id desc limit $5::int + 1
), next as (
	select case when count(*) > $5::int then max((extract(epoch from at) * 1000000)::bigint || '.' || vehicle_id) filter (where n = $5::int) end as cursor from shown
)
select v.rank, json_build_object('items', coalesce((select json_agg(json_build_object('vehicle_id', s.vehicle_id, 'fleet_id', s.fleet_id, 'time', rfc3339(s.at),
		'seq', s.seq, 'kind', s.data->'kind', 'count', s.data->'count', 'window_seconds', s.data->'window_seconds', 'subject', s.data->'subject') order by s.n)
		from shown s where s.n <= $5::int), '[]'), 'next_cursor', next.cursor), next.cursor
from v, next
