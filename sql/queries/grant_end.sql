-- Ends grants, at most one of a vehicle: $1 vehicle, $2 subject who asks, $3 admin, $4 body {"subject"}, $5 unused. What the
-- subject has not sent yet and may not send any more is cancelled with it; what is claimed at this moment, should it come back
-- (revocations). The last day on which the vehicle has an owner comes no earlier by it, but for admin.
with i as materialized (
	select i.*, g.subject as whose, g.role, v.vehicle_id is not null as there,
		grant_rank(i.subject, i.vehicle_id, v.fleet_id) as rank, grant_rank(g.subject, null, v.fleet_id) as left_rank,
		(select max(o.until) filter (where o.subject = g.subject) > coalesce(max(o.until) filter (where o.subject <> g.subject), '-infinity')
		 from owners(i.vehicle_id) o) as outlasts
	from unnest($1::text[], $2::text[], $3::bool[], $4::text[], $6::text[]) with ordinality as i(vehicle_id, subject, admin, body, address, n)
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	left join grants g on g.object_kind = 'vehicle' and g.object_id = i.vehicle_id and g.subject = i.body::json->>'subject'
		and (g.expires_at is null or g.expires_at > statement_timestamp())
	where $5::bool is not null
), judged as materialized (
	select i.*, case
		when not i.there then 'not_found'
		when not i.admin and i.rank = 0 then 'not_found'
		when not i.admin and i.rank < 3 then 'forbidden'
		when i.whose is null then 'no_grant'
		when not i.admin and i.outlasts then 'last_owner'
		else 'done' end as outcome
	from i
), unsent as materialized (
	select c.vehicle_id, c.id
	from judged j join commands c on c.vehicle_id = j.vehicle_id and c.id >= (select uuid7_floor(now() - interval '8 days'))
		and c.issued_by = j.whose and c.status in ('accepted', 'waiting') and c.flight = 'none'
		and greatest(role_rank(c.catalog->>'role'), 1) > j.left_rank
	where j.outcome = 'done' order by c.vehicle_id, c.accepted_seq
), cancelled as materialized (
	select count(*) as n from command_apply(null, array(select vehicle_id from unsent), array(select id from unsent), array(select 'cancel' from unsent),
		array(select json_build_object('code', 'ACCESS_REVOKED') from unsent), array(select null::json from unsent),
		array(select null::text from unsent), array(select step('canceled', '{"code": "ACCESS_REVOKED"}') from unsent))
), removed as (
	delete from grants g using judged j where j.outcome = 'done' and g.object_kind = 'vehicle' and g.object_id = j.vehicle_id and g.subject = j.whose
		and (select n from cancelled) >= 0
	returning event_add(g.object_id, 'access.changed', access_json(g.subject, null, null))
), remembered as (
	insert into revocations (object_kind, object_id, subject) select 'vehicle', j.vehicle_id, j.whose from judged j where j.outcome = 'done'
), noted as (
	insert into audit (who, action, object, allowed, detail) select actor(j.subject, j.address), 'grant.end', j.vehicle_id, j.outcome = 'done', audit_detail(j.body::json) from judged j
)
select j.n, j.outcome, null::json, false from judged j order by j.n
