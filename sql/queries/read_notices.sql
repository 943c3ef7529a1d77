-- $1 subject, $2 admin, $3 unused, $4 vehicle, $5 limit, $6 cursor (the last name seen): a page of the notices that the vehicle is shown.
with v as (
	select v.vehicle_id, v.fleet_id, case when $2::bool then 3 else grant_rank($1::text, v.vehicle_id, v.fleet_id) end as rank
	from vehicles v where v.vehicle_id = $4::text and v.retired_at is null and $3::bool is not null
), shown as (
	select n.name, notice_json(n) as body, row_number() over (order by n.name) as n
	from v cross join lateral notices_of(v.vehicle_id, v.fleet_id) n
	where n.name > coalesce($6::text, '')
	order by n.name limit $5::int + 1
), page as (
	select array_agg(s.name order by s.n) as ids, page_items(array_agg(octet_length(s.body::text) order by s.n), $5::int) as items from shown s
), next as (
	select p.items, case when cardinality(p.ids) > p.items then p.ids[p.items] end as cursor from page p
)
select v.rank, json_build_object('items', coalesce((select json_agg(s.body order by s.n) from shown s where s.n <= next.items), '[]'), 'next_cursor', next.cursor),
	next.cursor
from v, next
