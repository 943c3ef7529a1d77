-- Ends grants, at most one of a vehicle: $1 vehicle, $2 subject who asks, $3 admin, $4 body {"subject"}, $5 unused. Unsent commands of
-- the subject are cancelled with it. The last owner can be removed by admin alone.
with i as materialized (
	select i.*, g.subject as whose, g.role, case
		when v.vehicle_id is null then 'not_found'
		when not i.admin and grant_rank(i.subject, i.vehicle_id, v.fleet_id) = 0 then 'not_found'
		when not i.admin and grant_rank(i.subject, i.vehicle_id, v.fleet_id) < 3 then 'forbidden'
		when g.subject is null then 'no_grant'
		when not i.admin and g.role = 'owner' and (select count(*) from grants o where o.object_kind = 'vehicle' and o.object_id = i.vehicle_id and o.role = 'owner') = 1
			then 'last_owner'
		else 'done' end as outcome
	from unnest($1::text[], $2::text[], $3::bool[], $4::text[]) with ordinality as i(vehicle_id, subject, admin, body, n)
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	left join grants g on g.object_kind = 'vehicle' and g.object_id = i.vehicle_id and g.subject = i.body::jsonb->>'subject'
	where $5::bool is not null
), unsent as materialized (
	select c.vehicle_id, c.id from i join commands c on c.vehicle_id = i.vehicle_id and c.issued_by = i.whose and c.status in ('accepted', 'waiting') and c.flight = 'none'
	where i.outcome = 'done' order by c.vehicle_id, c.accepted_seq
), cancelled as materialized (
	select count(*) as n from command_apply(null, array(select vehicle_id from unsent), array(select id from unsent), array(select 'cancel' from unsent),
		array(select json_build_object('code', 'ACCESS_REVOKED') from unsent), array(select null::json from unsent),
		array(select null::text from unsent), array(select step('canceled', '{"code": "ACCESS_REVOKED"}') from unsent))
), removed as (
	delete from grants g using i where i.outcome = 'done' and g.object_kind = 'vehicle' and g.object_id = i.vehicle_id and g.subject = i.whose
		and (select n from cancelled) >= 0
	returning event_add(g.object_id, 'access.changed', json_build_object('subject', g.subject, 'role', null, 'expires_at', null))
), noted as (
	insert into audit (subject, action, object, allowed, detail) select i.subject, 'grant.end', i.vehicle_id, i.outcome = 'done', i.body::json from i
)
select i.n, i.outcome, null::json, false from i order by i.n
