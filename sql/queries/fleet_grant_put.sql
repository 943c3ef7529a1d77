-- Makes or changes a grant on a fleet: $1 fleet, $2 subject who asks, $3 admin, $4 body {"subject","role","expires_at"}. Admin, and
-- the fleet's managers. A grant whose time was over begins anew.
with i as materialized (
	select $1::text as fleet_id, $2::text as subject, $3::bool as admin, $4::json as b, $5::text as address, f.fleet_id is not null as there,
		case when $3::bool then 3 else grant_rank($2::text, null, f.fleet_id) end as rank
	from (select) one left join fleets f on f.fleet_id = $1::text
), judged as materialized (
	select i.*, i.b->>'subject' as whose, case
		when not i.there or i.rank = 0 then 'no_fleet'
		when i.rank < 3 then 'forbidden'
		else 'done' end as outcome,
		exists (select from grants g where g.object_kind = 'fleet' and g.object_id = i.fleet_id and g.subject = i.b->>'subject'
		        and (g.expires_at is null or g.expires_at > statement_timestamp())) as alive
	from i
), stored as (
	insert into grants as g (object_kind, object_id, subject, role, expires_at, granted_by, created_at)
	select 'fleet', j.fleet_id, j.whose, j.b->>'role', (j.b->>'expires_at')::timestamptz, j.subject, clock_timestamp() from judged j where j.outcome = 'done'
	on conflict (object_kind, object_id, subject) do update set role = excluded.role, expires_at = excluded.expires_at, granted_by = excluded.granted_by,
		created_at = case when g.expires_at <= statement_timestamp() then excluded.created_at else g.created_at end
	returning g
), raised as (
	update fleets f set access_version = f.access_version + 1 from judged j where j.outcome = 'done' and f.fleet_id = j.fleet_id
	returning f.access_version
), remembered as (
	insert into revocations (object_kind, object_id, subject) select 'fleet', j.fleet_id, j.whose from judged j where j.outcome = 'done' and j.alive
), noted as (
	insert into audit (who, action, object, allowed, detail) select actor(j.subject, j.address), 'grant.put', 'fleet/' || j.fleet_id, j.outcome = 'done', audit_detail(j.b) from judged j
)
select j.outcome, case when (s.g).subject is not null then grant_json(s.g) end, not j.alive,
	(select json_agg(access_json((s.g).subject, (s.g).role, (s.g).expires_at)) from stored s), (select r.access_version from raised r)
from judged j left join stored s on true
