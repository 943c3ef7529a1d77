-- $1 subject, $2 admin, $3 unused, $4 fleet ('*': all vehicles, for admin alone), $5 limit, $6 cursor (the last vehicle seen): a page of the
-- vehicles that are blocked; `confirmed`: the broker has taken it.
with v as (
	select * from overseen($1::text, $2::bool, $4::text) where $3::bool is not null
), shown as (
	select c.vehicle_id, json_build_object('vehicle_id', c.vehicle_id, 'fleet_id', c.fleet_id, 'display_name', c.display_name, 'blocked_at', rfc3339(r.changed_at),
		'confirmed', r.published = r.version) as body, row_number() over (order by c.vehicle_id) as n
	from v join retained r on r.kind = 'blocked' and r.payload <> '' and r.vehicle_id > coalesce($6::text, '')
	join vehicles c on c.vehicle_id = r.vehicle_id and c.retired_at is null and v.fleet_id in ('*', c.fleet_id)
	order by c.vehicle_id limit $5::int + 1
), next as (
	select case when count(*) > $5::int then max(vehicle_id) filter (where n = $5::int) end as cursor from shown
)
select v.rank, json_build_object('items', coalesce((select json_agg(s.body order by s.n) from shown s where s.n <= $5::int), '[]'), 'next_cursor', next.cursor),
	next.cursor
from v, next
