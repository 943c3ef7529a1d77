-- Applies lifecycle events, at most one of a vehicle, by the rules of docs/reachability.md. $1 vehicle, $2 kind,
-- $3 session, $4 version, $5 timestamp in milliseconds, $6 reason, $7 verify delay in milliseconds, $8 the protocols whose request
-- topic is concerned (null: it is about none). A registered vehicle's is known; another's may be either.
with judged as materialized (
	select h as was, v.vehicle_id is not null and v.retired_at is null as registered,
		case when v.retired_at is null then v.fleet_id end as fleet_id,
		lifecycle_step(h, i.kind, i.session, i.version, to_timestamp(i.ms / 1000.0), i.reason) as n
	from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $8::text[])
		as i(vehicle_id, kind, session, version, ms, reason, protocols)
	join vehicle_heads h on h.vehicle_id = i.vehicle_id
	left join vehicles v on v.vehicle_id = i.vehicle_id
	where i.protocols is null or v.vehicle_id is null or v.retired_at is not null or v.protocol = any(string_to_array(i.protocols, ' '))
), turned as materialized (
	select j.was, j.fleet_id, case when (j.n).reachable and not (j.was).reachable then head_turn(j.n, true, null, j.registered) else j.n end as n
	from judged j
), changed as (
	update vehicle_heads h set session = (t.n).session, version = (t.n).version, version_at = (t.n).version_at, connected_at = (t.n).connected_at,
		topics_at = (t.n).topics_at, taken_at = (t.n).taken_at, linked = (t.n).linked, doubted = (t.n).doubted, subscribed = (t.n).subscribed,
		verifying = (t.n).verifying, leaving = (t.n).leaving, seen_at = (t.n).seen_at,
		past_sessions = (t.n).past_sessions, early = (t.n).early, reachable = (t.n).reachable, since = (t.n).since, reason = (t.n).reason,
		seq = (t.n).seq, changes = (t.n).changes, unstable_until = (t.n).unstable_until, unstable_told_at = (t.n).unstable_told_at
	from turned t
	where h.vehicle_id = (t.was).vehicle_id and t.n is distinct from t.was
), timed as (
	insert into timers (kind, vehicle_id, due_at)
	select 'verify', (t.n).vehicle_id, clock_timestamp() + make_interval(secs => $7::int / 1000.0)
	from turned t where (t.n).verifying and (not (t.was).verifying or (t.n).session is distinct from (t.was).session)
	order by (t.n).vehicle_id
	on conflict (kind, vehicle_id) do update set due_at = excluded.due_at
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select (t.n).vehicle_id, (t.n).seq, clock_timestamp(), 'connectivity.changed', connectivity_json(t.n), t.fleet_id
from turned t where (t.n).seq > (t.was).seq
