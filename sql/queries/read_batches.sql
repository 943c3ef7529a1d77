-- $1 subject, $2 admin, $3 unused, $4 fleet, $5 limit, $6 cursor (the last id seen; null: from the newest): a page of its batches,
-- newest first. What is on its way of large ones is told as it was counted last.
with v as (
	select f.fleet_id, case when $2::bool then 3 else grant_rank($1::text, null, f.fleet_id) end as rank
	from fleets f where f.fleet_id = $4::text and $3::bool is not null
), found as materialized (
	select b, row_number() over (order by b.id desc) as n
	from v join batches b on b.fleet_id = v.fleet_id
	where v.rank > 0 and b.id < coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
	order by b.id desc limit $5::int + 1
), shown as (
	select (f.b).id, batch_json(f.b, 500) as body, f.n from found f
), page as (
	select array_agg(s.id order by s.n) as ids, page_items(array_agg(octet_length(s.body::text) order by s.n), $5::int) as items from shown s
), next as (
	select p.items, case when cardinality(p.ids) > p.items then p.ids[p.items]::text end as cursor from page p
)
select v.rank, json_build_object('items', coalesce((select json_agg(s.body order by s.n) from shown s where s.n <= next.items), '[]'),
	'next_cursor', next.cursor), next.cursor
from v, next
