-- $1 subject, $2 admin, $3 database.synchronous, $4 limit, $5 cursor (the last vehicle seen; null: from the beginning), $6 filter
-- (as filter_sql() takes it; null: none): a page of the vehicles that the subject may see.
with shown as (
	select f.vehicle_id, row_number() over (order by f.vehicle_id collate "C") as n
	from vehicles_found($1::text, $2::bool, $6::jsonb, coalesce($5::text, ''), $4::int + 1) as f(vehicle_id)
), told as (
	select s.n, vehicle_json(v, h, $2::bool or is_manager($1::text, v.fleet_id), history_epoch($3::bool)) as vehicle
	from shown s join vehicles v on v.vehicle_id = s.vehicle_id join vehicle_heads h on h.vehicle_id = s.vehicle_id
	where s.n <= $4::int
), page as (
	select page_items(array_agg(octet_length(t.vehicle::text) order by t.n), $4::int) as items from told t
), next as (
	select p.items, (select f.vehicle_id from shown f where f.n = p.items and exists (select from shown more where more.n > p.items)) as cursor from page p
)
select 3, json_build_object('items', coalesce((select json_agg(t.vehicle order by t.n) from told t where t.n <= next.items), '[]'), 'next_cursor', next.cursor), next.cursor
from next
