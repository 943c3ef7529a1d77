-- $1 subject, $2 admin, $3 unused, $4 fleet ('*': all vehicles, for admin alone), $5 limit, $6 cursor (the last id seen; null: from the newest): a
-- page of the wake-ups, newest first, of the last 5000 that there are. What was before a vehicle's registration is admin's alone.
with v as (
	select * from overseen($1::text, $2::bool, $4::text) where $3::bool is not null
), newest as (
	select u as wakeup, u.id, u.vehicle_id from wakeups u where u.id < coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') order by u.id desc limit 5000
), shown as (
	select w.id, w.wakeup, c.vehicle_id, c.fleet_id, row_number() over (order by w.id desc) as n
	from v join newest w on true join vehicles c on c.vehicle_id = w.vehicle_id and v.fleet_id in ('*', c.fleet_id)
		and ($2::bool or (w.wakeup).created_at >= c.created_at)
	order by w.id desc limit $5::int + 1
), next as (
	select case when count(*) > $5::int then (array_agg(id order by n))[$5::int]::text end as cursor from shown
)
select v.rank, json_build_object('items', coalesce((select json_agg(wakeup_json(s.wakeup) || jsonb_build_object('vehicle_id', s.vehicle_id, 'fleet_id', s.fleet_id,
		'created_at', rfc3339((s.wakeup).created_at), 'updated_at', rfc3339((s.wakeup).updated_at)) order by s.n)
		from shown s where s.n <= $5::int), '[]'), 'next_cursor', next.cursor), next.cursor
from v, next
