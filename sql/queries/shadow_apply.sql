-- Merges reported state, at most one report of a vehicle: $1 vehicle, $2 merge patch, $3 version (-1: none), $4 the command (null: none)
-- that it came with an answer to, $5 its status: it counts if the answer is one that the command may become yet. A lower or equal version is ignored; a patch that changes nothing makes no event. Where something is desired, the vehicle is told what is left of it.
-- A row for each vehicle whose report was not taken, since with it more would be reported than 256 KiB of text.
with i as materialized (
	select i.vehicle_id, i.patch::jsonb as patch, nullif(i.version, -1) as version
	from unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[], $5::text[]) as i(vehicle_id, patch, version, command_id, answer)
	where i.command_id is null or exists (select from lifecycle_paths l where l.event = i.answer and (l.from_status, l.from_flight)
		= (select c.status, c.flight from commands c where c.vehicle_id = i.vehicle_id and c.id = i.command_id))
), merged as materialized (
	select i.*, json_merge_patch(v.reported, i.patch) as reported, v.reported as was, v.desired, v.fleet_id
	from i join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	where i.version is null or v.reported_version is null or i.version > v.reported_version
), judged as materialized (
	select m.*, length(m.reported::text) <= 262144 or length(m.reported::text) <= length(m.was::text) as fits from merged m
), stored as (
	update vehicles v set reported = j.reported, reported_version = coalesce(j.version, v.reported_version), updated_at = clock_timestamp()
	from judged j where v.vehicle_id = j.vehicle_id and j.fits
), due as materialized (
	select desired_retain(j.vehicle_id, j.desired, j.reported) from judged j where j.desired <> '{}' and j.reported <> j.was and j.fits
), raised as (
	update vehicle_heads h set seq = h.seq + 1 from judged j where h.vehicle_id = j.vehicle_id and j.reported <> j.was and j.fits
	returning h.vehicle_id, h.seq, j.patch, j.version, j.fleet_id
), told as (
	insert into events (vehicle_id, seq, at, type, data, fleet_id)
	select r.vehicle_id, r.seq, clock_timestamp(), 'state.reported', json_build_object('patch', r.patch, 'version', r.version), r.fleet_id
	from raised r where (select count(*) from due) >= 0
)
select j.vehicle_id from judged j where not j.fits
