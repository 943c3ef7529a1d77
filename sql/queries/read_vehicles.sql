-- $1 subject, $2 admin, $3 database.synchronous, $4 limit, $5 cursor (the last vehicle seen; null: from the beginning): a page
-- of the vehicles that the subject may see. Found by way of the grants, so that a page costs the same however many there are.
with page as (
	select vehicle_id from (
		(select v.vehicle_id from vehicles v
		 where $2::bool and v.retired_at is null and v.vehicle_id > coalesce($5::text, '')
		 order by v.vehicle_id limit $4::int + 1)
		union
		(select v.vehicle_id from grants g join vehicles v on v.vehicle_id = g.object_id and v.retired_at is null
		 where not $2::bool and g.subject = $1::text and g.object_kind = 'vehicle' and (g.expires_at is null or g.expires_at > now())
			and g.object_id > coalesce($5::text, '')
		 order by v.vehicle_id limit $4::int + 1)
		union
		select f.vehicle_id from grants g cross join lateral (
			select v.vehicle_id from vehicles v
			where v.fleet_id = g.object_id and v.retired_at is null and v.vehicle_id > coalesce($5::text, '')
			order by v.vehicle_id limit $4::int + 1) f
		where not $2::bool and g.subject = $1::text and g.object_kind = 'fleet' and (g.expires_at is null or g.expires_at > now())
	) seen
	order by vehicle_id limit $4::int + 1
), shown as (
	select vehicle_id, row_number() over (order by vehicle_id) as n from page
), next as (
	select case when count(*) > $4::int then max(vehicle_id) filter (where n = $4::int) end as cursor from shown
), told as (
	select s.n, vehicle_json(v, h, $2::bool or is_manager($1::text, v.fleet_id), history_epoch($3::bool)) as vehicle
	from shown s join vehicles v on v.vehicle_id = s.vehicle_id join vehicle_heads h on h.vehicle_id = s.vehicle_id
	where s.n <= $4::int
)
select 3, json_build_object('items', coalesce((select json_agg(t.vehicle order by t.n) from told t), '[]'), 'next_cursor', next.cursor), next.cursor
from next
