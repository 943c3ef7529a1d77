-- Registers or updates vehicles, at most one of each id: $1 vehicle, $2 subject, $3 admin, $4 body, $5 database.synchronous.
-- Admin may, and a manager of the fleet it is in and of the fleet it goes to.
with i as materialized (
	select i.*, i.body::jsonb as b from unnest($1::text[], $2::text[], $3::bool[], $4::text[]) with ordinality as i(vehicle_id, subject, admin, body, n)
), judged as materialized (
	select i.*, v.vehicle_id is not null as known, v.retired_at is null and v.vehicle_id is not null as there, v.fleet_id as was_in, case
		when i.b->>'fleet_id' is not null and not exists (select from fleets f where f.fleet_id = i.b->>'fleet_id')
			then case when i.admin then 'invalid' else 'no_fleet' end
		when i.admin then 'done'
		-- the same answer whether it exists or not
		when v.vehicle_id is not null and v.retired_at is null and not is_manager(i.subject, v.fleet_id) then 'forbidden'
		when i.b->>'fleet_id' is null then 'forbidden'
		when not is_manager(i.subject, i.b->>'fleet_id') then 'no_fleet'
		else 'done' end as outcome
	from i left join vehicles v on v.vehicle_id = i.vehicle_id
), stored as (
	insert into vehicles as v (vehicle_id, display_name, msisdn, iccid, fleet_id, tags)
	select j.vehicle_id, j.b->>'display_name', j.b->>'msisdn', j.b->>'iccid', j.b->>'fleet_id',
		array(select jsonb_array_elements_text(coalesce(nullif(j.b->'tags', 'null'), '[]')))
	from judged j where j.outcome = 'done'
	on conflict (vehicle_id) do update set display_name = excluded.display_name, msisdn = excluded.msisdn, iccid = excluded.iccid,
		fleet_id = excluded.fleet_id, tags = excluded.tags, updated_at = clock_timestamp(), retired_at = null,
		created_at = case when v.retired_at is null then v.created_at else clock_timestamp() end
	returning v
), noted as (
	insert into audit (subject, action, object, allowed)
	select j.subject, 'vehicle.put', j.vehicle_id, j.outcome = 'done' from judged j
)
select j.n, j.outcome, vehicle_json(s.v, h, true, history_epoch($5::bool)), not j.there
from judged j left join stored s on (s.v).vehicle_id = j.vehicle_id left join vehicle_heads h on h.vehicle_id = j.vehicle_id
order by j.n
