-- Accepts commands, at most one of a vehicle: checks the grant, the idempotency key and the queue, inserts the
-- command with its event. A row for each input: its number, the outcome, and the command. Where the vehicle is there and
-- nothing earlier of it may go out, the new command is claimed as it is inserted, as settle_commands() would, for a worker that can publish
-- (null: none can): then the row has what is to be published. Where the vehicle is away, it is inserted as waiting, and knows of the
-- wake-up that is under way or was refused.
with i as materialized (
	select * from unnest($1::uuid[], $2::text[], $3::text[], $4::bool[], $5::int[], $6::text[], $7::text[],
	                     $8::text[], $9::text[], $10::text[], $11::int[], $12::int[], $13::bool[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $20::text[], $21::text[])
		with ordinality as i(id, vehicle_id, subject, admin, needs, key, fingerprint,
		                     name, params, sealed_params, ttl, timeout, wake, redelivery, catalog, traceparent, feed, publisher, address, tracestate, n)
), seen as materialized (
	select i.*, v.vehicle_id is not null as exists, v.fleet_id, v.protocol, h.seq as head_seq, h.reachable, h.since, h.reason, h.verifying, audience(h) as audience,
		k.subject is not null as keyed, k.fingerprint as key_fingerprint,
		k.batch_id is not null and k.created_at > now() - interval '24 hours' as of_batch,
		case when i.admin then 3 else g.rank end as rank,
		case when i.wake and not h.reachable then (select a.step from absences a where a.vehicle_id = i.vehicle_id
			and (a.due_at is not null or a.refused = 'NO_MSISDN' and v.msisdn is null)) end as wakeup,
		(select c from commands c where c.vehicle_id = k.vehicle_id and c.id = k.command_id and k.created_at > now() - interval '24 hours') as earlier,
		q.queued, q.returns,
		i.publisher is not null and f.subscribed and h.reachable and h.claim_id is null
			and (h.subscribed or coalesce(h.taken_at < clock_timestamp() - interval '1 second', true)) as hears
	from i
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	left join vehicle_heads h on h.vehicle_id = i.vehicle_id
	left join leases f on f.name = 'feed/' || case v.protocol when 'keyfob' then i.feed else v.protocol end
	left join idempotency k on k.subject = i.subject and k.key = i.key
	cross join lateral grant_ranks(i.subject, i.vehicle_id, v.fleet_id) g
	cross join lateral (
		select count(*) filter (where o.status <> 'sent') as queued, bool_or(o.status = 'sent' and o.flight = 'out' and o.redelivery <> 'never'
			and o.publish_session is distinct from audience(h)) as returns
		from (select c.status, c.flight, c.redelivery, c.publish_session from commands c where c.vehicle_id = i.vehicle_id and c.status in ('accepted', 'waiting', 'sent')
		      and c.id >= (select uuid7_floor(now() - interval '8 days')) order by c.status = 'sent' limit $19::int) o
	) q
), judged as materialized (
	select j.*, j.at + make_interval(secs => j.ttl) as expires_at,
		case when j.reachable then 'accepted' else 'waiting' end::command_status as status,
		case when j.outcome = 'created' and j.hears and j.queued = 0 and j.returns is not true and j.ttl > 1 then 'claimed' else 'none' end::command_flight as flight
	from (
		select s.*, clock_timestamp() as at, case
			when not s.exists or s.rank = 0 then 'not_found'
			when s.rank < s.needs then 'forbidden'
			when (s.earlier).id is not null and s.key_fingerprint = s.fingerprint then 'replayed'
			when (s.earlier).id is not null or s.of_batch then 'reused'
			when s.queued >= $19::int then 'queue_full'
			else 'created' end as outcome
		from seen s
	) j
), made as (
	insert into commands as c (vehicle_id, id, status, flight, name, params, sealed_params, issued_by, wake, redelivery, catalog, traceparent, tracestate,
		accepted_seq, attempts, publish_session, timeout_seconds, timeline, created_at, expires_at, updated_at, due_at)
	select j.vehicle_id, j.id, j.status, j.flight,
		j.name, j.params::json, j.sealed_params, j.subject, j.wake, j.redelivery, j.catalog::json, j.traceparent, j.tracestate,
		j.head_seq + 1, (j.flight = 'claimed')::integer, case when j.flight = 'claimed' then j.audience end, j.timeout,
		step('accepted', jsonb_build_object('by', j.subject, 'ttl_seconds', j.ttl))
			|| step('reachability', jsonb_build_object('state', case when j.reachable then 'connected' else 'disconnected' end,
			                                           'since', rfc3339(j.since), 'verifying', j.verifying))
			|| case when j.flight = 'claimed' then step('claimed', jsonb_build_object('worker', j.publisher, 'attempt', 1)) else '[]' end
			|| case when j.wakeup is not null then step('wakeup', j.wakeup) else '[]' end
			|| case when j.status = 'waiting' then step('reachability', jsonb_build_object('state', 'disconnected', 'since', rfc3339(j.since), 'reason', j.reason)) else '[]' end,
		j.at, j.expires_at, j.at, command_due(j.status, j.flight, j.at, j.expires_at, null, j.timeout)
	from judged j where j.outcome = 'created'
	returning c.vehicle_id, c.id, c.accepted_seq, command_json_accepted(c) as data, case when c.status = 'waiting' then command_json(c) end as waits
), told as (
	insert into events (vehicle_id, seq, at, type, data, fleet_id)
	select m.vehicle_id, m.accepted_seq + e.k, clock_timestamp(), 'command.updated', e.data, v.fleet_id
	from made m join vehicles v on v.vehicle_id = m.vehicle_id
		cross join lateral (values (0, m.data), (1, m.waits)) as e(k, data)
	where e.data is not null
), raised as (
	update vehicle_heads h set seq = j.head_seq + case j.status when 'waiting' then 2 else 1 end,
		claim_id = case when j.flight = 'claimed' then j.id else h.claim_id end,
		claim_worker = case when j.flight = 'claimed' then j.publisher else h.claim_worker end,
		claim_attempt = case when j.flight = 'claimed' then 1 else h.claim_attempt end,
		claim_session = case when j.flight = 'claimed' then j.audience else h.claim_session end
	from judged j where j.outcome = 'created' and h.vehicle_id = j.vehicle_id
), joined as (
	update absences a set seen_seq = j.head_seq + 1 from judged j where j.outcome = 'created' and j.wakeup is not null and a.vehicle_id = j.vehicle_id
), keyed as (
	-- a key whose command never came about, or whose day is over, belongs to the new command
	update idempotency k set command_id = j.id, batch_id = null, vehicle_id = j.vehicle_id, fingerprint = j.fingerprint, created_at = now()
	from judged j where j.outcome = 'created' and j.keyed and k.subject = j.subject and k.key = j.key and k.command_id <> j.id
), noted as (
	insert into audit (who, action, object, allowed, detail)
	select coalesce((select a.id from actors a where a.subject = j.subject and a.address = coalesce(j.address, '') limit 1), actor(j.subject, j.address)), 'command.send', j.vehicle_id, j.outcome in ('created', 'queue_full'), json_build_object('id', j.id, 'name', j.name)
	from judged j where j.outcome in ('created', 'not_found', 'forbidden', 'queue_full')
)
select j.n, j.outcome, case when j.outcome = 'replayed' then command_json(j.earlier) end as command,
	false as claimed, null as issued_at, null as expires_at, null::bigint as expires_us, null as session, null as protocol
from judged j where j.outcome <> 'created'
union all
-- zipped, in the order of ids: a join would compare each with each
select m.n, 'created', m.data, m.claimed, rfc3339(m.at), rfc3339(m.expires_at), (extract(epoch from m.expires_at) * 1000000)::bigint, m.audience, m.protocol
from unnest(array(select j.n from judged j where j.outcome = 'created' order by j.id),
	array(select data from made order by id),
	array(select j.flight = 'claimed' from judged j where j.outcome = 'created' order by j.id),
	array(select j.at from judged j where j.outcome = 'created' order by j.id),
	array(select j.expires_at from judged j where j.outcome = 'created' order by j.id),
	array(select j.audience from judged j where j.outcome = 'created' order by j.id),
	array(select j.protocol from judged j where j.outcome = 'created' order by j.id)) as m(n, data, claimed, at, expires_at, audience, protocol)
