-- $1 subject, $2 admin, $3 unused, $4 vehicle, $5 limit, $6 after: a page of the event log, oldest first.
with v as (
	select v.vehicle_id, case when $2::bool then 3 else grant_rank($1::text, v.vehicle_id, v.fleet_id) end as rank,
		case when $2::bool then '-infinity' else grant_since($1::text, v.vehicle_id, v.fleet_id) end as since
	from vehicles v where v.vehicle_id = $4::text and v.retired_at is null and $3::bool is not null
), shown as (
	select e.seq, case when v.rank < 3 and (e.type = 'security.alert' or e.type in ('access.changed', 'webhook.disabled') and e.data->>'subject' <> $1::text)
			then json_build_object('vehicle_id', e.vehicle_id, 'seq', e.seq, 'type', 'skipped', 'time', rfc3339(e.at), 'data', '{}'::json)
			else json_build_object('vehicle_id', e.vehicle_id, 'seq', e.seq, 'type', e.type, 'time', rfc3339(e.at), 'data', e.data) end as event
	from v join events e on e.vehicle_id = v.vehicle_id
	where e.seq > coalesce($6::bigint, 0) and e.at >= v.since
	order by e.seq limit $5::int + 1
), page as (
	select array_agg(s.seq order by s.seq) as ids, page_items(array_agg(octet_length(s.event::text) order by s.seq), $5::int) as items from shown s
), next as (
	select p.items, case when cardinality(p.ids) > p.items then p.ids[p.items]::text end as cursor from page p
)
select v.rank, json_build_object('items', coalesce((select json_agg(s.event order by s.seq) from (select * from shown order by seq limit next.items) s), '[]'),
	'next_cursor', next.cursor), next.cursor
from v, next
