-- $1 subject, $2 admin, $3 unused, $4 vehicle, $5 limit, $6 cursor (the last subject seen), $7 one subject alone (null: all):
-- a page of the vehicle's grants, for owners, managers and admin (rank 3).
with v as (
	select v.vehicle_id, case when $2::bool then 3 else grant_rank($1::text, v.vehicle_id, v.fleet_id) end as rank
	from vehicles v where v.vehicle_id = $4::text and v.retired_at is null and $3::bool is not null
), shown as (
	select g.subject, grant_json(g) as body, row_number() over (order by g.subject) as n
	from v join grants g on g.object_kind = 'vehicle' and g.object_id = v.vehicle_id
	where (g.expires_at is null or g.expires_at > now()) and g.subject > coalesce($6::text, '') and ($7::text is null or g.subject = $7::text)
	order by g.subject limit $5::int + 1
), next as (
	select case when count(*) > $5::int then max(subject) filter (where n = $5::int) end as cursor from shown
)
select v.rank, case when $7::text is not null then (select s.body from shown s)
	else json_build_object('items', coalesce((select json_agg(s.body order by s.n) from shown s where s.n <= $5::int), '[]'), 'next_cursor', next.cursor) end,
	next.cursor
from v, next
