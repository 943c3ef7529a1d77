-- $1 subject, $2 admin, $3 unused, $4 vehicle, $5 limit, $6 cursor (the last id seen; null: from the newest): a page of what was done
-- and refused on a vehicle, newest first, for its owners and admin (rank 3); a grant shows what happened since it was made.
with v as (
	select v.vehicle_id, o.since,
		case when $2::bool or o.since is not null then 3 else least(grant_rank($1::text, v.vehicle_id, v.fleet_id), 2) end as rank
	from vehicles v left join lateral (
		select min(g.created_at) as since from grants g where g.object_kind = 'vehicle' and g.object_id = v.vehicle_id and g.subject = $1::text
			and g.role = 'owner' and (g.expires_at is null or g.expires_at > now())) o on true
	where v.vehicle_id = $4::text and v.retired_at is null and $3::bool is not null
), shown as (
	select a.id, json_build_object('id', a.id, 'time', rfc3339(a.at), 'who', a.who, 'subject', w.subject, 'address', nullif(w.address, ''), 'action', a.action, 'allowed', a.allowed, 'detail', audit_told(a.detail)) as body,
		row_number() over (order by a.id desc) as n
	from v join audit a on a.object = v.vehicle_id left join actors w on w.id = a.who
	where ($2::bool or a.at >= v.since) and a.id < coalesce($6::bigint, 9223372036854775807)
	order by a.id desc limit $5::int + 1
), next as (
	select case when count(*) > $5::int then min(id) filter (where n = $5::int)::text end as cursor from shown
)
select v.rank, json_build_object('items', coalesce((select json_agg(s.body order by s.n) from shown s where s.n <= $5::int), '[]'), 'next_cursor', next.cursor),
	next.cursor
from v, next
