-- Withdraws a fleet's notice: $1 fleet ('*': all vehicles), $2 subject who asks, $3 admin, $4 body {"name"}, $5 address. The fleet's managers may, and
-- admin; for all vehicles admin alone.
with i as materialized (
	select $1::text as fleet_id, $2::text as subject, $3::bool as admin, $5::text as address, $4::json->>'name' as name, $1::text = '*' or f.fleet_id is not null as there,
		case when $3::bool then 3 else grant_rank($2::text, null, f.fleet_id) end as rank
	from (select) one left join fleets f on f.fleet_id = $1::text
), judged as materialized (
	select i.*, case
		when i.fleet_id = '*' and not i.admin then 'forbidden'
		when not i.there or i.rank = 0 then 'no_fleet'
		when i.rank < 3 then 'forbidden'
		when not exists (select from notices n where n.object_kind = 'fleet' and n.object_id = i.fleet_id and n.name = i.name) then 'no_notice'
		else 'done' end as outcome
	from i
), removed as (
	delete from notices n using judged j where j.outcome = 'done' and n.object_kind = 'fleet' and n.object_id = j.fleet_id and n.name = j.name
), spread as materialized (
	select notice_spread(j.fleet_id, j.name)::text from judged j where j.outcome = 'done'
), noted as (
	insert into audit (who, action, object, allowed, detail)
	select actor(j.subject, j.address), 'fleet.notice.delete', 'fleet/' || j.fleet_id, j.outcome = 'done', json_build_object('name', j.name) from judged j
)
select j.outcome, null::json, false, null::json, null::bigint from judged j where (select count(*) from spread) >= 0
