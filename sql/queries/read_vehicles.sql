-- $1 subject, $2 admin, $3 database.synchronous, $4 limit, $5 cursor (the last vehicle seen; null: from the beginning): a page
-- of the vehicles that the subject may see.
with page as (
	select v, h, v.vehicle_id, v.fleet_id
	from vehicles v join vehicle_heads h on h.vehicle_id = v.vehicle_id
	where v.retired_at is null and v.vehicle_id > coalesce($5::text, '')
		and ($2::bool or grant_rank($1::text, v.vehicle_id, v.fleet_id) > 0)
	order by v.vehicle_id limit $4::int + 1
), shown as (
	select *, row_number() over (order by vehicle_id) as n from page
), next as (
	select case when count(*) > $4::int then max(vehicle_id) filter (where n = $4::int) end as cursor from shown
)
select 3, json_build_object('items', coalesce((select json_agg(vehicle_json(s.v, s.h, $2::bool or is_manager($1::text, s.fleet_id),
	history_epoch($3::bool)) order by s.vehicle_id) from shown s where s.n <= $4::int), '[]'), 'next_cursor', next.cursor), next.cursor
from next
