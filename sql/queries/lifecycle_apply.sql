-- Applies lifecycle events, at most one of a vehicle, by the rules of docs/reachability.md. $1 vehicle, $2 kind,
-- $3 session, $4 version, $5 timestamp in milliseconds, $6 reason, $7 verify delay in milliseconds.
with i as materialized (
	select i.*, to_timestamp(i.ms / 1000.0) as at
	from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[]) as i(vehicle_id, kind, session, version, ms, reason)
), judged as materialized (
	select i.*, h.session as stored, h.reachable as was_reachable, h.verifying as was_verifying, v.vehicle_id is not null as registered, v.fleet_id,
		case i.kind
		when 'connected' then
			i.session = h.session and h.connected_at is null and h.linked
			or i.session is distinct from h.session and not i.session = any(h.past_sessions)
			   and (h.session is null or i.version > h.version or not h.linked or i.at > h.connected_at + interval '64 minutes')
			or i.session = any(h.past_sessions) and i.version > h.version
		when 'disconnected' then
			coalesce(i.reason, '') <> 'DUPLICATE_CLIENTID'
			and (i.session = h.session and (h.linked or h.reachable and not h.verifying)
			  or i.session is distinct from h.session and i.version > coalesce(h.version, -1) and not i.session = any(h.past_sessions)
			     and i.at >= coalesce(h.connected_at, '-infinity') - interval '4 minutes')
		when 'subscribed' then
			i.session = h.session and (h.linked or h.connected_at is null)
			or i.session is distinct from h.session and not i.session = any(h.past_sessions) and not h.linked
		when 'unsubscribed' then i.session = h.session and h.linked and h.reachable
		end as counts
	from i join vehicle_heads h on h.vehicle_id = i.vehicle_id
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
), changed as (
	update vehicle_heads h set
		past_sessions = case when j.stored is null or j.session is not distinct from j.stored then h.past_sessions
			else (array_append(h.past_sessions, j.stored))[greatest(1, cardinality(h.past_sessions) - 6):] end,
		session = j.session,
		version = case when j.kind in ('connected', 'disconnected') then j.version else h.version end,
		connected_at = case when j.kind = 'connected' then j.at when j.session is distinct from j.stored then null else h.connected_at end,
		linked = case j.kind when 'disconnected' then false else true end,
		subscribed = case j.kind when 'subscribed' then true when 'unsubscribed' then false
			else h.subscribed and j.session is not distinct from j.stored end,
		reachable = h.reachable or j.kind = 'subscribed',
		verifying = case when j.kind in ('disconnected', 'unsubscribed') then h.reachable else false end,
		leaving = case when j.kind in ('disconnected', 'unsubscribed') then coalesce(j.reason, upper(j.kind)) end,
		since = case when j.kind = 'subscribed' and not h.reachable then clock_timestamp() else h.since end,
		reason = case when j.kind = 'subscribed' and not h.reachable then null else h.reason end,
		seq = h.seq + case when j.kind = 'subscribed' and not h.reachable and j.registered then 1 else 0 end,
		seen_at = case when j.kind in ('connected', 'subscribed') then clock_timestamp() else h.seen_at end
	from judged j
	where h.vehicle_id = j.vehicle_id and j.counts
	returning h.vehicle_id, h.seq, h.since, h.reason, h.verifying, j.was_reachable, j.was_verifying, h.reachable, j.registered, j.fleet_id
), named as (
	-- told again, as after a resync: only that it is there counts
	update vehicle_heads h set seen_at = clock_timestamp(),
		verifying = h.verifying and not h.linked
	from judged j
	where h.vehicle_id = j.vehicle_id and not coalesce(j.counts, false) and j.kind in ('connected', 'subscribed')
		and j.session = h.session and h.linked
), timed as (
	insert into timers (kind, vehicle_id, due_at)
	select 'verify', c.vehicle_id, clock_timestamp() + make_interval(secs => $7::int / 1000.0)
	from changed c where c.verifying and not c.was_verifying
	order by c.vehicle_id
	on conflict (kind, vehicle_id) do update set due_at = excluded.due_at
)
insert into events (vehicle_id, seq, at, type, data, fleet_id)
select c.vehicle_id, c.seq, clock_timestamp(), 'connectivity.changed',
	json_build_object('state', 'connected', 'since', rfc3339(c.since), 'reason', c.reason), c.fleet_id
from changed c where c.reachable and not c.was_reachable and c.registered
