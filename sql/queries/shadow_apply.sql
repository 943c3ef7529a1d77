-- Merges reported state, in the order of the reports, of which a vehicle may have several: $1 vehicle, $2 merge patch, $3 version (-1: none),
-- $4 the command (null: none) that it came with an answer to, $5 its status: it counts if the answer is one that the command may become yet.
-- A lower or equal version is ignored; a patch that changes nothing makes no event. Where something is desired, the vehicle is told what is
-- left of it. A row for each vehicle of which a report was not taken, since with it more would be reported than 256 KiB of text, with how many.
with i as materialized (
	select i.vehicle_id, array_agg(i.patch::jsonb order by i.n) as patches, array_agg(nullif(i.version, -1) order by i.n) as versions
	from unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[], $5::text[]) with ordinality as i(vehicle_id, patch, version, command_id, answer, n)
	where i.command_id is null or exists (select from lifecycle_paths l where l.event = i.answer and (l.from_status, l.from_flight)
		= (select c.status, c.flight from commands c where c.vehicle_id = i.vehicle_id and c.id = i.command_id))
	group by i.vehicle_id
), merged as materialized (
	select i.vehicle_id, v.reported, v.desired, v.fleet_id, m.*
	from i join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	cross join lateral reports_merge(v.reported, v.reported_version, i.patches, i.versions) m
), stored as (
	update vehicles v set reported = m.merged, reported_version = m.merged_version, updated_at = clock_timestamp()
	from merged m where v.vehicle_id = m.vehicle_id and m.is_stored
), due as materialized (
	select desired_retain(m.vehicle_id, m.desired, m.merged) from merged m where m.desired <> '{}' and m.merged <> m.reported
), raised as (
	update vehicle_heads h set seq = h.seq + cardinality(m.changes) from merged m where h.vehicle_id = m.vehicle_id and m.changes <> '{}'
	returning h.vehicle_id, h.seq - cardinality(m.changes) as seq, m.changes, m.changes_versions, m.fleet_id
), told as (
	insert into events (vehicle_id, seq, at, type, data, fleet_id)
	select r.vehicle_id, r.seq + r.k, clock_timestamp(), 'state.reported', json_build_object('patch', r.patch, 'version', r.version), r.fleet_id
	from (
		select r.vehicle_id, r.seq, r.fleet_id, c.patch, c.version, c.k
		from raised r cross join lateral unnest(r.changes, r.changes_versions) with ordinality as c(patch, version, k)
		order by r.vehicle_id, c.k offset 0
	) r where (select count(*) from due) >= 0
)
select m.vehicle_id, m.refused from merged m where m.refused > 0
