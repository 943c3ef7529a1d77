-- Merges reported state, in the order of the reports, of which a vehicle may have several: $1 vehicle, $2 merge patch, $3 version (-1: none),
-- $4 the command (null: none) that it came with an answer to, $5 its status: it counts if the answer is one that the command may become yet.
-- A lower or equal version is ignored; a patch that changes nothing makes no event. Where something is desired, the vehicle is told what is
-- left of it. A row for each report that was not taken, since with it more would be reported than 256 KiB of text.
with recursive i as materialized (
	select i.vehicle_id, i.patch::jsonb as patch, nullif(i.version, -1) as version,
		row_number() over (partition by i.vehicle_id order by i.n) as k, count(*) over (partition by i.vehicle_id) as k_max
	from unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[], $5::text[]) with ordinality as i(vehicle_id, patch, version, command_id, answer, n)
	where i.command_id is null or exists (select from lifecycle_paths l where l.event = i.answer and (l.from_status, l.from_flight)
		= (select c.status, c.flight from commands c where c.vehicle_id = i.vehicle_id and c.id = i.command_id))
), steps as (
	select i.vehicle_id, i.k, i.k_max, i.patch, i.version, v.reported as was, v.reported as begun, v.desired, v.fleet_id, t.fits,
		case when t.fits then t.reported else v.reported end as reported,
		case when t.fits and c.counts then coalesce(i.version, v.reported_version) else v.reported_version end as reported_version,
		t.fits and c.counts as is_stored
	from i join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	cross join lateral (select i.version is null or v.reported_version is null or i.version > v.reported_version as counts offset 0) c
	cross join lateral (
		select m.reported, length(m.reported::text) <= 262144 or length(m.reported::text) <= length(v.reported::text) as fits
		from (select case when c.counts then json_merge_patch(v.reported, i.patch) else v.reported end as reported offset 0) m offset 0) t
	where i.k = 1
	union all
	select i.vehicle_id, i.k, i.k_max, i.patch, i.version, s.reported, s.begun, s.desired, s.fleet_id, t.fits,
		case when t.fits then t.reported else s.reported end,
		case when t.fits and c.counts then coalesce(i.version, s.reported_version) else s.reported_version end,
		s.is_stored or t.fits and c.counts
	from steps s join i on i.vehicle_id = s.vehicle_id and i.k = s.k + 1
	cross join lateral (select i.version is null or s.reported_version is null or i.version > s.reported_version as counts offset 0) c
	cross join lateral (
		select m.reported, length(m.reported::text) <= 262144 or length(m.reported::text) <= length(s.reported::text) as fits
		from (select case when c.counts then json_merge_patch(s.reported, i.patch) else s.reported end as reported offset 0) m offset 0) t
	where s.k < s.k_max
), stored as (
	update vehicles v set reported = s.reported, reported_version = s.reported_version, updated_at = clock_timestamp()
	from steps s where v.vehicle_id = s.vehicle_id and s.k = s.k_max and s.is_stored
), due as materialized (
	select desired_retain(s.vehicle_id, s.desired, s.reported) from steps s where s.k = s.k_max and s.desired <> '{}' and s.reported <> s.begun
), changed as materialized (
	select s.vehicle_id, s.fleet_id, count(*) as changes, array_agg(s.patch order by s.k) as patches, array_agg(s.version order by s.k) as versions
	from steps s where s.reported <> s.was group by s.vehicle_id, s.fleet_id
), raised as (
	update vehicle_heads h set seq = h.seq + c.changes from changed c where h.vehicle_id = c.vehicle_id
	returning h.vehicle_id, h.seq - c.changes as seq, c.patches, c.versions, c.fleet_id
), told as (
	insert into events (vehicle_id, seq, at, type, data, fleet_id)
	select r.vehicle_id, r.seq + r.k, clock_timestamp(), 'state.reported', json_build_object('patch', r.patch, 'version', r.version), r.fleet_id
	from (
		select r.vehicle_id, r.seq, r.fleet_id, p.patch, p.version, p.k
		from raised r cross join lateral unnest(r.patches, r.versions) with ordinality as p(patch, version, k)
		order by r.vehicle_id, p.k offset 0
	) r where (select count(*) from due) >= 0
)
select s.vehicle_id from steps s where not s.fits
