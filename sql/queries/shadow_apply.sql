-- Merges reported state, at most one report of a vehicle: $1 vehicle, $2 merge patch, $3 version (-1: none). A lower or
-- equal version is ignored; a patch that changes nothing makes no event. Where something is desired, the vehicle is told what is left of it.
with i as materialized (
	select i.vehicle_id, i.patch::jsonb as patch, nullif(i.version, -1) as version from unnest($1::text[], $2::text[], $3::bigint[]) as i(vehicle_id, patch, version)
), merged as materialized (
	select i.*, json_merge_patch(v.reported, i.patch) as reported, v.reported as was, v.desired, v.fleet_id
	from i join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	where i.version is null or v.reported_version is null or i.version > v.reported_version
), stored as (
	update vehicles v set reported = m.reported, reported_version = coalesce(m.version, v.reported_version), updated_at = clock_timestamp()
	from merged m where v.vehicle_id = m.vehicle_id
), due as materialized (
	select desired_retain(m.vehicle_id, m.desired, m.reported) from merged m where m.desired <> '{}' and m.reported <> m.was
), raised as (
	update vehicle_heads h set seq = h.seq + 1 from merged m where h.vehicle_id = m.vehicle_id and m.reported <> m.was
	returning h.vehicle_id, h.seq, m.patch, m.version, m.fleet_id
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select r.vehicle_id, r.seq, clock_timestamp(), 'state.reported', json_build_object('patch', r.patch, 'version', r.version), r.fleet_id
from raised r where (select count(*) from due) >= 0
