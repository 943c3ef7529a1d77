-- Removes an empty fleet with its grants and notices: $1 fleet, $2 subject who asks, $3 admin, $4 unused. Admin alone.
with i as materialized (
	select $1::text as fleet_id, $2::text as subject, $3::bool as admin, $4::json as b, $5::text as address, f.fleet_id is not null as there,
		case when $3::bool then 3 else grant_rank($2::text, null, f.fleet_id) end as rank
	from (select) one left join fleets f on f.fleet_id = $1::text
), judged as materialized (
	select i.*, case
		when not i.there or i.rank = 0 then 'no_fleet'
		when not i.admin then 'forbidden'
		when exists (select from vehicles v where v.fleet_id = i.fleet_id) then 'not_empty'
		else 'done' end as outcome
	from i
), ended as (
	delete from grants g using judged j where j.outcome = 'done' and g.object_kind = 'fleet' and g.object_id = j.fleet_id
	returning access_json(g.subject, null, null) as change
), withdrawn as (
	delete from notices n using judged j where j.outcome = 'done' and n.object_kind = 'fleet' and n.object_id = j.fleet_id
), removed as (
	delete from fleets f using judged j where j.outcome = 'done' and f.fleet_id = j.fleet_id
), noted as (
	insert into audit (who, action, object, allowed) select actor(j.subject, j.address), 'fleet.delete', 'fleet/' || j.fleet_id, j.outcome = 'done' from judged j
)
select j.outcome, null::json, false, (select json_agg(e.change) from ended e), null::bigint from judged j
