-- Withdraws vehicles' own notices, at most one of each: $1 vehicle, $2 subject, $3 admin, $4 body {"name"}, $5 unused, $6 address. An owner or a
-- fleet's manager may. notices_settle follows.
with i as materialized (
	select i.*, i.body::json->>'name' as name, v.vehicle_id is not null as there, grant_rank(i.subject, i.vehicle_id, v.fleet_id) as rank
	from unnest($1::text[], $2::text[], $3::bool[], $4::text[], $6::text[]) with ordinality as i(vehicle_id, subject, admin, body, address, n)
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	where $5::bool is not null
), judged as materialized (
	select i.*, case
		when not i.there then 'not_found'
		when not i.admin and i.rank = 0 then 'not_found'
		when not i.admin and i.rank < 3 then 'forbidden'
		when not exists (select from notices n where n.object_kind = 'vehicle' and n.object_id = i.vehicle_id and n.name = i.name) then 'no_notice'
		else 'done' end as outcome
	from i
), removed as (
	delete from notices n using judged j where j.outcome = 'done' and n.object_kind = 'vehicle' and n.object_id = j.vehicle_id and n.name = j.name
), noted as (
	insert into audit (who, action, object, allowed, detail)
	select actor(j.subject, j.address), 'notice.delete', j.vehicle_id, j.outcome = 'done', json_build_object('name', j.name) from judged j
)
select j.n, j.outcome, null::json, false from judged j order by j.n
