-- Ends a grant on a fleet: $1 fleet, $2 subject who asks, $3 admin, $4 body {"subject"}. Admin, and the fleet's managers. What its
-- subject has not sent yet is taken back from all of the fleet's vehicles afterwards (revocations).
with i as materialized (
	select $1::text as fleet_id, $2::text as subject, $3::bool as admin, $4::json as b, $5::text as address, f.fleet_id is not null as there,
		case when $3::bool then 3 else grant_rank($2::text, null, f.fleet_id) end as rank
	from (select) one left join fleets f on f.fleet_id = $1::text
), judged as materialized (
	select i.*, g.subject as whose, case
		when not i.there or i.rank = 0 then 'no_fleet'
		when i.rank < 3 then 'forbidden'
		when g.subject is null then 'no_grant'
		else 'done' end as outcome
	from i left join grants g on g.object_kind = 'fleet' and g.object_id = i.fleet_id and g.subject = i.b->>'subject'
		and (g.expires_at is null or g.expires_at > statement_timestamp())
), removed as (
	delete from grants g using judged j where j.outcome = 'done' and g.object_kind = 'fleet' and g.object_id = j.fleet_id and g.subject = j.whose
), raised as (
	update fleets f set access_version = f.access_version + 1 from judged j where j.outcome = 'done' and f.fleet_id = j.fleet_id
	returning f.access_version
), remembered as (
	insert into revocations (object_kind, object_id, subject) select 'fleet', j.fleet_id, j.whose from judged j where j.outcome = 'done'
), noted as (
	insert into audit (who, action, object, allowed, detail) select actor(j.subject, j.address), 'grant.end', 'fleet/' || j.fleet_id, j.outcome = 'done', audit_detail(j.b) from judged j
)
select j.outcome, null::json, false, case when j.outcome = 'done' then json_build_array(access_json(j.whose, null, null)) end,
	(select r.access_version from raised r) from judged j
