-- $1 subject, $2 admin, $3 unused, $4 batch, $5 limit, $6 cursor (the last vehicle seen; null: from the beginning), $7 status (null:
-- any): a page of its targets. A command is shown to whom it would be shown by its vehicle.
with b as (
	select b.*, case when $2::bool then 3 else grant_rank($1::text, null, b.fleet_id) end as rank
	from batches b where b.id = $4::uuid and $3::bool is not null
), shown as (
	select t.vehicle_id, json_build_object('vehicle_id', t.vehicle_id, 'status', s.status, 'refusal', t.refusal, 'command', c.command) as body,
		row_number() over (order by t.vehicle_id) as n
	from b join batch_targets t on t.batch_id = b.id
	left join vehicles v on v.vehicle_id = t.vehicle_id and v.retired_at is null
	left join lateral (select c.status, case when $2::bool or c.created_at >= grant_since($1::text, v.vehicle_id, v.fleet_id) then command_json(c) end as command
		from commands c where c.vehicle_id = t.vehicle_id and c.id = t.command_id offset 0) c on true
	cross join lateral (select case when not t.fed then case b.state when 'running' then 'pending' else 'skipped' end
		when t.refusal is not null then 'refused' else coalesce(t.settled, c.status::text, 'timed_out') end as status) s
	where t.vehicle_id > coalesce($6::text, '') and ($7::text is null or s.status = $7::text)
	order by t.vehicle_id limit $5::int + 1
), page as (
	select array_agg(s.vehicle_id order by s.n) as ids, page_items(array_agg(octet_length(s.body::text) order by s.n), $5::int) as items from shown s
), next as (
	select p.items, case when cardinality(p.ids) > p.items then p.ids[p.items] end as cursor from page p
)
select b.rank, json_build_object('items', coalesce((select json_agg(s.body order by s.n) from shown s where s.n <= next.items), '[]'), 'next_cursor', next.cursor),
	next.cursor
from b, next
