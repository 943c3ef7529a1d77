-- Gives vehicles to a new owner: $1 vehicle, $2 subject who asks, $3 admin, $4 body {"subject"}, $5 unused. All other grants on it
-- end, what their subjects have not sent yet is cancelled, what was wanted of it is forgotten, and the new owner's grant begins
-- now, so that it shows nothing from before, and has no end. An owner whose grant has none may, and admin; a fleet's manager could so
-- remove the last owner.
with i as materialized (
	select i.*, i.body::json->>'subject' as whose, v.vehicle_id is not null as there, v.fleet_id,
		grant_rank(i.subject, i.vehicle_id, v.fleet_id) as rank,
		exists (select from owners(i.vehicle_id) o where o.subject = i.subject and o.until = 'infinity') as owns
	from unnest($1::text[], $2::text[], $3::bool[], $4::text[], $6::text[]) with ordinality as i(vehicle_id, subject, admin, body, address, n)
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	where $5::bool is not null
), judged as materialized (
	select i.*, case
		when not i.there then 'not_found'
		when i.admin then 'done'
		when i.rank = 0 then 'not_found'
		when not i.owns then 'forbidden'
		else 'done' end as outcome
	from i
), ending as materialized (
	select g.object_id as vehicle_id, g.subject, grant_rank(g.subject, null, j.fleet_id) as kept, (g.expires_at is null or g.expires_at > statement_timestamp()) as alive
	from judged j join grants g on g.object_kind = 'vehicle' and g.object_id = j.vehicle_id and g.subject <> j.whose
	where j.outcome = 'done' order by g.object_id, g.subject
), revoked as materialized (
	select commands_revoke(array(select vehicle_id from ending), array(select subject from ending), array(select kept from ending)) as n
), remembered as (
	insert into revocations (object_kind, object_id, subject) select 'vehicle', e.vehicle_id, e.subject from ending e
), ended as materialized (
	select event_add(e.vehicle_id, 'access.changed', access_json(e.subject, null, null)) as seq
	from ending e where e.alive and (select n from revoked) >= 0
), removed as (
	delete from grants g using ending e where g.object_kind = 'vehicle' and g.object_id = e.vehicle_id and g.subject = e.subject
), forgotten as materialized (
	select vehicle_forget(j.vehicle_id)::text from judged j where j.outcome = 'done' and (select count(*) from ended) >= 0
), stored as (
	insert into grants as g (object_kind, object_id, subject, role, expires_at, granted_by, created_at)
	select 'vehicle', j.vehicle_id, j.whose, 'owner', null, j.subject, clock_timestamp() from judged j
	where j.outcome = 'done' and (select count(*) from forgotten) >= 0
	on conflict (object_kind, object_id, subject) do update set role = 'owner', expires_at = null, granted_by = excluded.granted_by,
		created_at = excluded.created_at
	returning g, event_add(g.object_id, 'access.changed', access_json(g.subject, g.role, g.expires_at)) as seq
), noted as (
	insert into audit (who, action, object, allowed, detail)
	select actor(j.subject, j.address), 'vehicle.transfer', j.vehicle_id, j.outcome = 'done', audit_detail(j.body::json) from judged j
)
select j.n, j.outcome, case when (s.g).subject is not null then grant_json(s.g) end, false
from judged j left join stored s on (s.g).object_id = j.vehicle_id order by j.n
