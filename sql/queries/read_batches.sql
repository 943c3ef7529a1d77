-- $1 subject, $2 admin, $3 unused, $4 fleet, $5 limit, $6 cursor (the last id seen; null: from the newest): a page of its batches,
-- newest first.
with v as (
	select f.fleet_id, case when $2::bool then 3 else grant_rank($1::text, null, f.fleet_id) end as rank
	from fleets f where f.fleet_id = $4::text and $3::bool is not null
), shown as materialized (
	select b, row_number() over (order by b.id desc) as n
	from v join batches b on b.fleet_id = v.fleet_id
	where v.rank > 0 and b.id < coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
	order by b.id desc limit $5::int + 1
), next as (
	select case when count(*) > $5::int then (array_agg((b).id order by n))[$5::int]::text end as cursor from shown
)
select v.rank, json_build_object('items', coalesce((select json_agg(batch_json(s.b) order by s.n) from shown s where s.n <= $5::int), '[]'),
	'next_cursor', next.cursor), next.cursor
from v, next
