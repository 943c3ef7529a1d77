-- Accepts commands, at most one of a vehicle: checks the grant, the idempotency key and the queue ($19 unsent commands, and 1000 besides
-- that were sent and not answered, since each accept looks at them), inserts the command with its event. A row for each input: its number,
-- the outcome, and the command; a key finds no command that a grant does not show, but is taken; who had no right to it when keys were
-- taken comes again. A batch's target ($22) that had its turn gets no other. Where the vehicle is there and nothing earlier of it may go
-- out, the new command is claimed as it is inserted, as settle_commands() would, for a worker that can publish (null: none can): then the
-- row has what is to be published. Where the vehicle is away, it is inserted as waiting, and knows of the wake-up that is under way or was
-- refused.
with judged as materialized (
	-- what is read most stands first
	select w.outcome, w.flight, w.status, w.vehicle_id, w.id, w.head_seq, w.head_place, w.publisher, w.audience, w.wakeup, w.keyed, w.subject, w.key,
		w.fingerprint, w.address, w.name, w.n, w.created, w.expires, w.fleet_id, w.params, w.sealed_params, w.wake, w.redelivery, w.catalog,
		w.traceparent, w.tracestate, w.timeout, w.ttl, w.at, w.expires_at, w.reachable, w.since_text, w.verifying, w.reason, w.protocol, w.earlier,
		case when w.outcome = 'created' then command_text(w.id, w.vehicle_id, w.name, w.params, 'accepted', null, null, false, false, w.subject, 0,
		w.timeout, w.created, w.expires, w.created, null, null, w.sealed_params, null, w.traceparent) end as data
	from (
		select j.*, rfc3339(j.at) as created, rfc3339(j.expires_at) as expires, rfc3339(j.since) as since_text,
			case when j.reachable then 'accepted' else 'waiting' end::command_status as status,
			case when j.outcome = 'created' and j.hears and j.queued = 0
				and (select true from commands c where c.vehicle_id = j.vehicle_id and c.status = 'sent' and c.flight = 'out' and c.redelivery <> 'never'
					and c.publish_session is distinct from j.audience and c.publish_session is distinct from j.session
					and c.id >= (select uuid7_floor(now() - interval '8 days')) order by c.accepted_seq limit 1) is null then 'claimed' else 'none' end::command_flight as flight
		from (
			select s.*, s.at + make_interval(secs => s.ttl) as expires_at, case
				when not s.exists or s.rank = 0 then 'not_found'
				when s.rank < s.needs then 'forbidden'
				when s.fed then 'replayed'
				when s.key is not null and not s.keyed then 'keyless'
				when (s.earlier).id is not null and s.key_fingerprint = s.fingerprint
					and (s.admin or (s.earlier).created_at >= grant_since(s.subject, s.vehicle_id, s.fleet_id)) then 'replayed'
				when (s.earlier).id is not null or s.of_batch then 'reused'
				-- by another of these, for another vehicle
				when s.keyed and s.key_command <> s.id and s.key_command = any($1::uuid[]) then 'reused'
				when s.queued >= $19::int or s.open >= $19::int + 1000 then 'queue_full'
				else 'created' end as outcome
			from (
				select i.*, v.vehicle_id is not null as exists, v.fleet_id, v.protocol, h.seq as head_seq, h.ctid as head_place, h.reachable, h.since, h.reason, h.verifying,
					h.session, audience(h) as audience, clock_timestamp() as at,
					k.subject is not null as keyed, k.fingerprint as key_fingerprint, k.command_id as key_command,
					i.batch_id is not null and exists (select from batch_targets t where t.batch_id = i.batch_id and t.vehicle_id = i.vehicle_id and t.fed) as fed,
					k.batch_id is not null and k.created_at > now() - interval '24 hours' as of_batch,
					case when i.admin then 3 else g.rank end as rank,
					case when i.wake and not h.reachable then (select a.step from absences a where a.vehicle_id = i.vehicle_id
						and (a.due_at is not null or a.refused = 'NO_MSISDN' and v.msisdn is null)) end as wakeup,
					case when k.subject is not null then (select c from commands c
						where c.vehicle_id = k.vehicle_id and c.id = k.command_id and k.created_at > now() - interval '24 hours') end as earlier,
					q.queued, q.open,
					i.publisher is not null and f.subscribed and h.reachable and h.claim_id is null
						and (h.subscribed or coalesce(h.taken_at < clock_timestamp() - interval '1 second', true)) as hears
				from unnest($1::uuid[], $2::text[], $3::text[], $4::bool[], $5::int[], $6::text[], $7::text[],
				            $8::text[], $9::text[], $10::text[], $11::int[], $12::int[], $13::bool[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $20::text[], $21::text[], $22::uuid[])
					with ordinality as i(id, vehicle_id, subject, admin, needs, key, fingerprint,
					                     name, params, sealed_params, ttl, timeout, wake, redelivery, catalog, traceparent, feed, publisher, address, tracestate, batch_id, n)
				left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
				left join vehicle_heads h on h.vehicle_id = i.vehicle_id
				left join leases f on i.publisher is not null and f.name = 'feed/' || case v.protocol when 'keyfob' then i.feed else v.protocol end
				left join idempotency k on k.subject = i.subject and k.key = i.key
				cross join lateral grant_ranks(i.subject, i.vehicle_id, v.fleet_id) g
				cross join lateral (
					-- with order and limit, so that the index of what is open is read, and not the vehicle's history
					select count(*) filter (where o.status <> 'sent') as queued, count(*) as open from (
						select c.status from commands c where c.vehicle_id = i.vehicle_id and c.status in ('accepted', 'waiting', 'sent')
							and c.id >= (select uuid7_floor(now() - interval '8 days')) order by c.accepted_seq limit $19::int + 1000) o
				) q
				offset 0
			) s
			offset 0
		) j
		offset 0
	) w
), made as (
	insert into commands (vehicle_id, id, status, flight, name, params, sealed_params, issued_by, wake, redelivery, catalog, traceparent, tracestate,
		accepted_seq, attempts, publish_session, timeout_seconds, timeline, created_at, expires_at, updated_at, due_at)
	select j.vehicle_id, j.id, j.status, j.flight,
		j.name, j.params::json, j.sealed_params, j.subject, j.wake, j.redelivery, j.catalog::json, j.traceparent, j.tracestate,
		j.head_seq + 1, (j.flight = 'claimed')::integer, case when j.flight = 'claimed' then j.audience end, j.timeout,
		('[' || step_text('accepted', '{"by": ' || to_json(j.subject) || ', "ttl_seconds": ' || j.ttl || '}', j.created)
			|| ', ' || step_text('reachability', case when j.reachable then '{"state": "connected"' else '{"state": "disconnected"' end
				|| ', "since": ' || coalesce('"' || j.since_text || '"', 'null') || ', "verifying": ' || j.verifying || '}', j.created)
			|| case when j.flight = 'claimed' then ', ' || step_text('claimed', '{"worker": ' || to_json(j.publisher) || ', "attempt": 1}', j.created) else '' end
			|| case when j.wakeup is not null then ', ' || step_text('wakeup', j.wakeup::text, j.created) else '' end
			|| case when j.status = 'waiting' then ', ' || step_text('reachability', '{"state": "disconnected", "since": ' || coalesce('"' || j.since_text || '"', 'null')
				|| ', "reason": ' || coalesce(to_json(j.reason)::text, 'null') || '}', j.created) else '' end || ']')::jsonb,
		j.at, j.expires_at, j.at, command_due(j.status, j.flight, j.at, j.expires_at, null, j.timeout)
	from judged j where j.outcome = 'created'
), told as (
	insert into events (vehicle_id, seq, at, type, data, fleet_id)
	select j.vehicle_id, j.head_seq + e.k, clock_timestamp(), 'command.updated', e.data::json, j.fleet_id
	from judged j cross join unnest(array[j.data, case when j.status = 'waiting' then command_text(j.id, j.vehicle_id, j.name, j.params, 'waiting',
		null, null, false, false, j.subject, 0, j.timeout, j.created, j.expires, j.created, null, null, j.sealed_params, null, j.traceparent) end])
		with ordinality as e(data, k)
	where j.outcome = 'created' and e.data is not null
), raised as (
	update vehicle_heads h set seq = j.head_seq + case j.status when 'waiting' then 2 else 1 end,
		claim_id = case when j.flight = 'claimed' then j.id else h.claim_id end,
		claim_worker = case when j.flight = 'claimed' then j.publisher else h.claim_worker end,
		claim_attempt = case when j.flight = 'claimed' then 1 else h.claim_attempt end,
		claim_session = case when j.flight = 'claimed' then j.audience else h.claim_session end
	from judged j where j.outcome = 'created' and h.ctid = j.head_place and h.vehicle_id = j.vehicle_id
), joined as (
	update absences a set seen_seq = j.head_seq + 1 from judged j where j.outcome = 'created' and j.wakeup is not null and a.vehicle_id = j.vehicle_id
), keyed as (
	-- a key whose command never came about, or whose day is over, belongs to the new command
	update idempotency k set command_id = j.id, batch_id = null, vehicle_id = j.vehicle_id, fingerprint = j.fingerprint, created_at = now()
	from judged j where j.outcome = 'created' and j.keyed and k.subject = j.subject and k.key = j.key and k.command_id <> j.id
), noted as (
	insert into audit (who, action, object, allowed, detail)
	select coalesce((select a.id from actors a where a.subject = j.subject and a.address = coalesce(j.address, '') limit 1), actor(j.subject, j.address)), 'command.send', j.vehicle_id,
		j.outcome in ('created', 'queue_full'), ('{"id" : "' || j.id || '", "name" : ' || to_json(j.name) || '}')::json
	from judged j where j.outcome in ('created', 'not_found', 'forbidden', 'queue_full')
)
select j.n, j.outcome, case j.outcome when 'created' then j.data when 'replayed' then command_json(j.earlier)::text end as command,
	j.flight = 'claimed' as claimed, j.created as issued_at, j.expires, (extract(epoch from j.expires_at) * 1000000)::bigint as expires_us,
	j.audience as session, j.protocol
from judged j
