-- Shuts vehicles out of the broker, or lets them in again: $1 vehicle, $2 subject, $3 admin, $4 body {"blocked"}, $5 unused, $6 address.
-- Admin may, and a manager of its fleet.
with i as materialized (
	select i.*, (i.body::json->>'blocked')::bool as blocked, case
		when v.vehicle_id is null then 'not_found'
		when i.admin or is_manager(i.subject, v.fleet_id) then 'done'
		when grant_rank(i.subject, i.vehicle_id, v.fleet_id) > 0 then 'forbidden' else 'not_found' end as outcome
	from unnest($1::text[], $2::text[], $3::bool[], $4::text[], $6::text[]) with ordinality as i(vehicle_id, subject, admin, body, address, n)
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	where $5::bool is not null
), shut as materialized (
	select vehicle_block(i.vehicle_id, i.blocked)::text from i left join retained b on b.vehicle_id = i.vehicle_id and b.kind = 'blocked'
	where i.outcome = 'done' and (coalesce(b.payload, '') <> '') <> i.blocked
), told as materialized (
	select event_add(i.vehicle_id, case when i.blocked then 'vehicle.blocked' else 'vehicle.unblocked' end, '{}')
	from i left join retained b on b.vehicle_id = i.vehicle_id and b.kind = 'blocked' where i.outcome = 'done' and (coalesce(b.payload, '') <> '') <> i.blocked
), noted as (
	insert into audit (who, action, object, allowed)
	select actor(i.subject, i.address), case when i.blocked then 'vehicle.block' else 'vehicle.unblock' end, i.vehicle_id, i.outcome = 'done' from i
)
select i.n, i.outcome, json_build_object('vehicle_id', i.vehicle_id, 'blocked', i.blocked), false from i
where (select count(*) from shut) >= 0 and (select count(*) from told) >= 0 order by i.n
