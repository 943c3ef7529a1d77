-- Makes or changes grants, at most one of a vehicle: $1 vehicle, $2 subject who asks, $3 admin, $4 body {"subject","role","expires_at"},
-- $5 unused. A weaker role takes back what its subject has not sent yet.
with i as materialized (
	select i.*, i.body::jsonb as b, v.fleet_id, g.created_at as made, case
		when v.vehicle_id is null then 'not_found'
		when i.admin or grant_rank(i.subject, i.vehicle_id, v.fleet_id) >= 3 then 'done'
		when grant_rank(i.subject, i.vehicle_id, v.fleet_id) > 0 then 'forbidden' else 'not_found' end as outcome
	from unnest($1::text[], $2::text[], $3::bool[], $4::text[]) with ordinality as i(vehicle_id, subject, admin, body, n)
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	left join grants g on g.object_kind = 'vehicle' and g.object_id = i.vehicle_id and g.subject = i.body::jsonb->>'subject'
	where $5::bool is not null
), judged as materialized (
	select i.*, case when i.outcome = 'done' and not i.admin and i.b->>'role' <> 'owner' and not exists (
			select from grants g where g.object_kind = 'vehicle' and g.object_id = i.vehicle_id and g.role = 'owner' and g.subject <> i.b->>'subject')
		and exists (select from grants g where g.object_kind = 'vehicle' and g.object_id = i.vehicle_id and g.role = 'owner' and g.subject = i.b->>'subject')
		then 'last_owner' else i.outcome end as verdict
	from i
), unsent as materialized (
	select c.vehicle_id, c.id from judged j join commands c on c.vehicle_id = j.vehicle_id and c.issued_by = j.b->>'subject'
		and c.status in ('accepted', 'waiting') and c.flight = 'none'
	where j.verdict = 'done' and j.b->>'role' = 'viewer' order by c.vehicle_id, c.accepted_seq
), cancelled as materialized (
	select count(*) as n from command_apply(null, array(select vehicle_id from unsent), array(select id from unsent), array(select 'cancel' from unsent),
		array(select json_build_object('code', 'ACCESS_REVOKED') from unsent), array(select null::json from unsent),
		array(select null::text from unsent), array(select step('canceled', '{"code": "ACCESS_REVOKED"}') from unsent))
), stored as (
	insert into grants as g (object_kind, object_id, subject, role, expires_at, granted_by)
	select 'vehicle', j.vehicle_id, j.b->>'subject', j.b->>'role', (j.b->>'expires_at')::timestamptz, j.subject from judged j
	where j.verdict = 'done' and (select n from cancelled) >= 0
	on conflict (object_kind, object_id, subject) do update set role = excluded.role, expires_at = excluded.expires_at, granted_by = excluded.granted_by
	returning g.object_id, g.subject, g.role, g.expires_at, g.granted_by, g.created_at,
		event_add(g.object_id, 'access.changed', json_build_object('subject', g.subject, 'role', g.role, 'expires_at', rfc3339(g.expires_at))) as seq
), noted as (
	insert into audit (subject, action, object, allowed, detail) select j.subject, 'grant.put', j.vehicle_id, j.verdict = 'done', j.b::json from judged j
)
select j.n, j.verdict, case when s.object_id is not null then json_build_object('subject', s.subject, 'role', s.role, 'expires_at', rfc3339(s.expires_at),
	'granted_by', s.granted_by, 'created_at', rfc3339(s.created_at)) end, j.made is null
from judged j left join stored s on s.object_id = j.vehicle_id order by j.n
