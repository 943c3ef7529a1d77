-- Changes what is desired of vehicles, at most one patch of each: $1 vehicle, $2 subject, $3 admin, $4 body {"patch", "if_match": versions
-- or null}, $5 unused, $6 address. A driver may. A patch that changes nothing makes no event; of the difference that is left the vehicle is told.
with i as materialized (
	select i.*, b.*, v.vehicle_id is not null as there, v.desired, v.reported, v.desired_version as version,
		grant_rank(i.subject, i.vehicle_id, v.fleet_id) as rank
	from unnest($1::text[], $2::text[], $3::bool[], $4::text[], $6::text[]) with ordinality as i(vehicle_id, subject, admin, body, address, n)
	cross join lateral (select i.body::jsonb->'patch' as patch, nullif(i.body::jsonb->'if_match', 'null') as if_match offset 0) b
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	where $5::bool is not null
), merged as materialized (
	select i.*, case when i.there then json_merge_patch(i.desired, i.patch) end as wanted from i
), judged as materialized (
	select m.*, case
		when not m.there then 'not_found'
		when not m.admin and m.rank = 0 then 'not_found'
		when not m.admin and m.rank < 2 then 'forbidden'
		when m.if_match is not null and not m.if_match ? m.version::text then 'changed'
		when length(m.wanted::text) > 65536 then 'too_large'
		else 'done' end as outcome
	from merged m
), stored as (
	update vehicles v set desired = j.wanted, desired_version = desired_next(j.vehicle_id, j.version), updated_at = clock_timestamp()
	from judged j where j.outcome = 'done' and j.wanted <> j.desired and v.vehicle_id = j.vehicle_id
	returning v, j.patch
), told as materialized (
	select event_add((s.v).vehicle_id, 'state.desired', json_build_object('patch', s.patch, 'version', (s.v).desired_version)),
		desired_retain((s.v).vehicle_id, (s.v).desired, (s.v).reported, (s.v).desired_version)
	from stored s
), noted as (
	insert into audit (who, action, object, allowed, detail) select actor(j.subject, j.address), 'state.patch', j.vehicle_id, j.outcome = 'done', j.patch::json from judged j
)
select j.n, j.outcome, case when j.outcome <> 'done' then null when (s.v).vehicle_id is null then state_json(v.*) else state_json(s.v) end, false,
	coalesce((s.v).desired_version, j.version)
from judged j left join stored s on (s.v).vehicle_id = j.vehicle_id left join vehicles v on v.vehicle_id = j.vehicle_id
where (select count(*) from told) >= 0
order by j.n
