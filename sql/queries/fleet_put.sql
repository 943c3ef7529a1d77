-- Makes or changes a fleet: $1 fleet, $2 subject who asks, $3 admin, $4 body {"title"}. Admin alone.
with i as materialized (
	select $1::text as fleet_id, $2::text as subject, $3::bool as admin, $4::json as b, $5::text as address, f.fleet_id is not null as there,
		case when $3::bool then 3 else grant_rank($2::text, null, f.fleet_id) end as rank
	from (select) one left join fleets f on f.fleet_id = $1::text
), judged as materialized (
	select i.*, case when i.admin then 'done' when not i.there or i.rank = 0 then 'no_fleet' else 'forbidden' end as outcome from i
), stored as (
	insert into fleets as f (fleet_id, title) select j.fleet_id, coalesce(j.b->>'title', '') from judged j where j.outcome = 'done'
	on conflict (fleet_id) do update set title = excluded.title, updated_at = clock_timestamp()
	returning f, xmax = 0 as is_new
), noted as (
	insert into audit (who, action, object, allowed, detail) select actor(j.subject, j.address), 'fleet.put', 'fleet/' || j.fleet_id, j.outcome = 'done', audit_detail(j.b) from judged j
)
select j.outcome, case when (s.f).fleet_id is not null then fleet_json(s.f) end, coalesce(s.is_new, false), null::json, null::bigint from judged j left join stored s on true
