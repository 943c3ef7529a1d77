-- $1 subject, $2 admin, $3 unused, $4 vehicle, $5 limit, $6 cursor (the last id seen; null: from the newest): a page of the
-- vehicle's wake-ups, newest first; a grant shows what happened since it was made.
with v as (
	select v.vehicle_id, case when $2::bool then 3 else grant_rank($1::text, v.vehicle_id, v.fleet_id) end as rank,
		case when $2::bool then '-infinity' else grant_since($1::text, v.vehicle_id, v.fleet_id) end as since
	from vehicles v where v.vehicle_id = $4::text and v.retired_at is null and $3::bool is not null
), shown as (
	select u.id, (wakeup_json(u) || jsonb_build_object('created_at', rfc3339(u.created_at), 'updated_at', rfc3339(u.updated_at)))::json as body,
		row_number() over (order by u.id desc) as n
	from v join wakeups u on u.vehicle_id = v.vehicle_id
	where u.created_at >= v.since and u.id < coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
	order by u.id desc limit $5::int + 1
), next as (
	select case when count(*) > $5::int then (array_agg(id order by n))[$5::int]::text end as cursor from shown
)
select v.rank, json_build_object('items', coalesce((select json_agg(s.body order by s.n) from shown s where s.n <= $5::int), '[]'),
	'next_cursor', next.cursor), next.cursor
from v, next
