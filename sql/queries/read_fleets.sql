-- $1 subject, $2 admin, $3 unused, $4 limit, $5 cursor (the last fleet seen; null: from the beginning): a page of the fleets
-- that the subject may see.
with shown as (
	select f.fleet_id, fleet_json(f) as body, row_number() over (order by f.fleet_id) as n
	from fleets f
	where $3::bool is not null and f.fleet_id > coalesce($5::text, '')
		and ($2::bool or f.fleet_id in (select g.object_id from grants g where g.subject = $1::text and g.object_kind = 'fleet'
		                                and (g.expires_at is null or g.expires_at > now())))
	order by f.fleet_id limit $4::int + 1
), next as (
	select case when count(*) > $4::int then max(fleet_id) filter (where n = $4::int) end as cursor from shown
)
select 3, json_build_object('items', coalesce((select json_agg(s.body order by s.n) from shown s where s.n <= $4::int), '[]'), 'next_cursor', next.cursor),
	next.cursor
from next
