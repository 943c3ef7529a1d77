-- $1 subject, $2 admin, $3 unused, $4 vehicle, $5 limit, $6 cursor (the last id seen; null: from the newest), $7 status (null:
-- any): a page, newest first.
with v as (
	select v.vehicle_id, case when $2::bool then 3 else grant_rank($1::text, v.vehicle_id, v.fleet_id) end as rank,
		case when $2::bool then '-infinity' else grant_since($1::text, v.vehicle_id, v.fleet_id) end as since
	from vehicles v where v.vehicle_id = $4::text and v.retired_at is null and $3::bool is not null
), shown as (
	select c.id, command_json(c) as command, row_number() over (order by c.id desc) as n
	from v join commands c on c.vehicle_id = v.vehicle_id
	where c.created_at >= v.since and c.id < coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
		and ($7::text is null or c.status::text = $7::text)
	order by c.id desc limit $5::int + 1
), page as (
	select array_agg(s.id order by s.n) as ids, page_items(array_agg(octet_length(s.command::text) order by s.n), $5::int) as items from shown s
), next as (
	select p.items, case when cardinality(p.ids) > p.items then p.ids[p.items]::text end as cursor from page p
)
select v.rank, json_build_object('items', coalesce((select json_agg(s.command order by s.n) from shown s where s.n <= next.items), '[]'),
	'next_cursor', next.cursor), next.cursor
from v, next
