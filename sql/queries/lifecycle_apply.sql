-- Applies lifecycle events, at most one of a vehicle, by the rules of docs/reachability.md. $1 vehicle, $2 kind,
-- $3 session, $4 version, $5 timestamp in milliseconds, $6 reason, $7 verify delay in milliseconds.
with judged as materialized (
	select h.vehicle_id, h.reachable as was_reachable, h.verifying as was_verifying, h.session as was_session,
		v.vehicle_id is not null as registered, v.fleet_id,
		lifecycle_step(h, i.kind, i.session, i.version, to_timestamp(i.ms / 1000.0), i.reason) as n
	from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[]) as i(vehicle_id, kind, session, version, ms, reason)
	join vehicle_heads h on h.vehicle_id = i.vehicle_id
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
), changed as (
	update vehicle_heads h set session = (j.n).session, version = (j.n).version, version_at = (j.n).version_at, connected_at = (j.n).connected_at,
		topics_at = (j.n).topics_at, taken_at = (j.n).taken_at, linked = (j.n).linked, doubted = (j.n).doubted, subscribed = (j.n).subscribed,
		verifying = (j.n).verifying, leaving = (j.n).leaving, seen_at = (j.n).seen_at,
		past_sessions = (j.n).past_sessions, early = (j.n).early, reachable = (j.n).reachable,
		since = case when (j.n).reachable and not j.was_reachable then clock_timestamp() else h.since end,
		reason = case when (j.n).reachable and not j.was_reachable then null else h.reason end,
		seq = h.seq + case when (j.n).reachable and not j.was_reachable and j.registered then 1 else 0 end
	from judged j
	where h.vehicle_id = j.vehicle_id
	returning h.vehicle_id, h.seq, h.since, h.reason, h.reachable, j.was_reachable, j.registered, j.fleet_id,
		h.verifying and (not j.was_verifying or h.session is distinct from j.was_session) as begins
), timed as (
	insert into timers (kind, vehicle_id, due_at)
	select 'verify', c.vehicle_id, clock_timestamp() + make_interval(secs => $7::int / 1000.0)
	from changed c where c.begins
	order by c.vehicle_id
	on conflict (kind, vehicle_id) do update set due_at = excluded.due_at
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select c.vehicle_id, c.seq, clock_timestamp(), 'connectivity.changed',
	json_build_object('state', 'connected', 'since', rfc3339(c.since), 'reason', c.reason), c.fleet_id
from changed c where c.reachable and not c.was_reachable and c.registered
