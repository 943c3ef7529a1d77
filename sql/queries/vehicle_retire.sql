-- Retires vehicles: $1 vehicle, $2 subject, $3 admin, $4 unused, $5 unused. What is unsent is cancelled, grants end and are told,
-- the shadow and notices are cleared, its fleet is left; the head stays, so that seq goes on should it be registered anew. The
-- broker shuts it out.
with i as materialized (
	select i.*, v.fleet_id, case
		when v.vehicle_id is null then 'not_found'
		when i.admin or is_manager(i.subject, v.fleet_id) then 'done'
		when grant_rank(i.subject, i.vehicle_id, v.fleet_id) > 0 then 'forbidden' else 'not_found' end as outcome
	from unnest($1::text[], $2::text[], $3::bool[], $4::text[], $6::text[]) with ordinality as i(vehicle_id, subject, admin, body, address, n)
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	where $5::bool is not null
), unsent as materialized (
	select c.vehicle_id, c.id, i.subject from i join commands c on c.vehicle_id = i.vehicle_id
		and c.id >= (select uuid7_floor(now() - interval '8 days')) and c.status in ('accepted', 'waiting') and c.flight = 'none'
	where i.outcome = 'done' order by c.vehicle_id, c.accepted_seq
), cancelled as materialized (
	select count(*) as n from command_apply(null, array(select vehicle_id from unsent), array(select id from unsent), array(select 'cancel' from unsent),
		array(select json_build_object('code', 'CANCELED', 'by', subject) from unsent), array(select null::json from unsent),
		array(select null::text from unsent), array(select step('canceled', jsonb_build_object('by', subject)) from unsent))
), ended as materialized (
	select g.object_id as vehicle_id, g.subject,
		event_add(g.object_id, 'access.changed', access_json(g.subject, null, null)) as seq
	from i join grants g on g.object_kind = 'vehicle' and g.object_id = i.vehicle_id
	where i.outcome = 'done' and (select n from cancelled) >= 0
), removed as (
	delete from grants g using ended e where g.object_kind = 'vehicle' and g.object_id = e.vehicle_id and g.subject = e.subject
), told as materialized (
	select event_add(i.vehicle_id, 'vehicle.retired', '{}') from i where i.outcome = 'done' and (select count(*) from ended) >= 0
), retired as (
	update vehicles v set retired_at = clock_timestamp(), reported = '{}', reported_version = null, desired = '{}', desired_version = v.desired_version + 1,
		tags = '{}', fleet_id = null, display_name = null, msisdn = null, iccid = null
	from i where i.outcome = 'done' and v.vehicle_id = i.vehicle_id and (select count(*) from told) >= 0
), shut_out as materialized (
	select vehicle_block(i.vehicle_id, true)::text, vehicle_clear(i.vehicle_id)::text from i where i.outcome = 'done'
), noted as (
	insert into audit (who, action, object, allowed) select actor(i.subject, i.address), 'vehicle.retire', i.vehicle_id, i.outcome = 'done' from i
)
select i.n, i.outcome, null::json, false from i where (select count(*) from shut_out) >= 0 order by i.n
