-- Accepts commands, at most one of a vehicle: checks the grant, the idempotency key and the queue, inserts the
-- command with its event. A row for each input: its number, the outcome, and the command.
with i as materialized (
	select * from unnest($1::uuid[], $2::text[], $3::text[], $4::bool[], $5::int[], $6::text[], $7::text[],
	                     $8::text[], $9::text[], $10::text[], $11::int[], $12::int[], $13::bool[], $14::text[], $15::text[], $16::text[])
		with ordinality as i(id, vehicle_id, subject, admin, needs, key, fingerprint,
		                     name, params, sealed_params, ttl, timeout, wake, redelivery, catalog, traceparent, n)
), seen as materialized (
	select i.*, v.vehicle_id is not null as exists, v.fleet_id, h.seq as head_seq, h.reachable, h.since, h.verifying,
		k.subject is not null as keyed, k.fingerprint as key_fingerprint,
		case when i.admin then 3 else grant_rank(i.subject, i.vehicle_id, v.fleet_id) end as rank,
		(select c from commands c where c.vehicle_id = k.vehicle_id and c.id = k.command_id and k.created_at > now() - interval '24 hours') as earlier,
		(select count(*) from (select from commands c where c.vehicle_id = i.vehicle_id and c.status in ('accepted', 'waiting')
		                       and c.id >= (select uuid7_floor(now() - interval '8 days')) limit $17::int) q) as queued
	from i
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	left join vehicle_heads h on h.vehicle_id = i.vehicle_id
	left join idempotency k on k.subject = i.subject and k.key = i.key
), judged as materialized (
	select s.*, clock_timestamp() as at, case
		when not s.exists or s.rank = 0 then 'not_found'
		when s.rank < s.needs then 'forbidden'
		when (s.earlier).id is not null and s.key_fingerprint = s.fingerprint then 'replayed'
		when (s.earlier).id is not null then 'reused'
		when s.queued >= $17::int then 'queue_full'
		else 'created' end as outcome
	from seen s
), made as (
	insert into commands as c (vehicle_id, id, name, params, sealed_params, issued_by, wake, redelivery, catalog, traceparent,
		accepted_seq, timeout_seconds, timeline, created_at, expires_at, updated_at, due_at)
	select j.vehicle_id, j.id, j.name, j.params::json, j.sealed_params, j.subject, j.wake, j.redelivery, j.catalog::json, j.traceparent,
		j.head_seq + 1, j.timeout,
		step('accepted', jsonb_build_object('by', j.subject, 'ttl_seconds', j.ttl))
			|| step('reachability', jsonb_build_object('state', case when j.reachable then 'connected' else 'disconnected' end,
			                                           'since', rfc3339(j.since), 'verifying', j.verifying)),
		j.at, j.at + make_interval(secs => j.ttl), j.at,
		command_due('accepted', 'none', j.at, j.at + make_interval(secs => j.ttl), null, j.timeout)
	from judged j where j.outcome = 'created'
	returning c.vehicle_id, c.id, c.accepted_seq, command_json(c) as data
), told as (
	insert into events (vehicle_id, seq, at, type, data, fleet_id)
	select m.vehicle_id, m.accepted_seq, clock_timestamp(), 'command.updated', m.data, v.fleet_id
	from made m join vehicles v on v.vehicle_id = m.vehicle_id
), raised as (
	update vehicle_heads h set seq = m.accepted_seq from made m where h.vehicle_id = m.vehicle_id
), keyed as (
	-- a key whose command never came about, or whose day is over, belongs to the new command
	update idempotency k set command_id = j.id, vehicle_id = j.vehicle_id, fingerprint = j.fingerprint, created_at = now()
	from judged j where j.outcome = 'created' and j.keyed and k.subject = j.subject and k.key = j.key and k.command_id <> j.id
), noted as (
	insert into audit (subject, action, object, allowed, detail)
	select j.subject, 'command.send', j.vehicle_id, j.outcome in ('created', 'queue_full'), json_build_object('id', j.id, 'name', j.name)
	from judged j where j.outcome in ('created', 'not_found', 'forbidden', 'queue_full')
)
select j.n, j.outcome, case when j.outcome = 'replayed' then command_json(j.earlier) end as command
from judged j where j.outcome <> 'created'
union all
select m.n, 'created', m.data
from unnest(array(select j.n from judged j where j.outcome = 'created' order by j.id), array(select data from made order by id)) as m(n, data)
