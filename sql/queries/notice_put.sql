-- Publishes vehicles' own notices, at most one of each: $1 vehicle, $2 subject, $3 admin, $4 body {"name", "payload", "content_type",
-- "expires_in_seconds"}, $5 unused, $6 address. An owner or a fleet's manager may. notices_settle follows.
with i as materialized (
	select i.*, b.*, v.vehicle_id is not null as there, grant_rank(i.subject, i.vehicle_id, v.fleet_id) as rank,
		exists (select from notices o where o.object_kind = 'vehicle' and o.object_id = i.vehicle_id and o.name = b.name) as known,
		(select count(*) from notices o where o.object_kind = 'vehicle' and o.object_id = i.vehicle_id) as others
	from unnest($1::text[], $2::text[], $3::bool[], $4::text[], $6::text[]) with ordinality as i(vehicle_id, subject, admin, body, address, n)
	cross join lateral (select i.body::json->>'name' as name, i.body::json->>'payload' as payload, i.body::json->>'content_type' as content_type,
		clock_timestamp() + make_interval(secs => (i.body::json->>'expires_in_seconds')::int) as expires_at offset 0) b
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	where $5::bool is not null
), judged as materialized (
	select i.*, case
		when not i.there then 'not_found'
		when not i.admin and i.rank = 0 then 'not_found'
		when not i.admin and i.rank < 3 then 'forbidden'
		when not i.known and i.others >= 64 then 'too_many_notices'
		else 'done' end as outcome
	from i
), stored as (
	insert into notices as n (object_kind, object_id, name, payload, content_type, expires_at, published_by)
	select 'vehicle', j.vehicle_id, j.name, j.payload, j.content_type, j.expires_at, j.subject from judged j where j.outcome = 'done'
	on conflict (object_kind, object_id, name) do update set payload = excluded.payload, content_type = excluded.content_type,
		expires_at = excluded.expires_at, published_by = excluded.published_by, created_at = excluded.created_at
	returning n
), noted as (
	insert into audit (who, action, object, allowed, detail)
	select actor(j.subject, j.address), 'notice.put', j.vehicle_id, j.outcome = 'done', json_build_object('name', j.name) from judged j
)
select j.n, j.outcome, case when (s.n).name is not null then notice_json(s.n) end, not j.known
from judged j left join stored s on (s.n).object_id = j.vehicle_id order by j.n
