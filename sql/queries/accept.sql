-- Accepts commands ($1), at most one of a vehicle: checks the grant, the idempotency key and the queue ($2 unsent commands, and 1000 besides
-- that were sent and not answered, since each accept looks at them), inserts the command with its event. A row for each input: its number,
-- the outcome, and the command; a key finds no command that a grant does not show, but is taken ($5: the ids of all of this statement, where there
-- are keys); who had no right to it when keys were taken comes again. A batch's target that had its turn gets no other. Where the vehicle
-- is there and nothing earlier of it may go out, the new command is claimed as it is inserted, as settle_claims() would, for a worker
-- that can publish, and has not stood still for longer than its lease: then the row has what is to be published. Where the vehicle is away, it is inserted as waiting, and knows of the wake-up
-- that is under way or was refused. $3, $4: ids of the last eight days and the next, so that no partition but those between them is set up.
with judged as materialized (
	select t.*, case when t.outcome = 'created' and t.may_go then 'claimed' else 'none' end::command_flight as flight,
		concat('{"id" : "', (t.d).id, '", "vehicle_id" : "', t.vehicle_id, '", "name" : "', (t.d).name,
			'", "params" : ', coalesce((t.d).params::text, 'null'), ', "status" : "') as opening,
		concat('", "reason" : null, "result" : null, "late" : false, "may_have_executed" : false, "issued_by" : ', t.issuer,
			', "attempts" : 0, "timeout_seconds" : ', (t.d).timeout, ', "created_at" : "', t.created, '", "expires_at" : "', t.expires,
			'", "updated_at" : "', t.created, '", "sent_at" : null, "finished_at" : null', ', "sealed_params" : ' || to_json((t.d).sealed_params),
			', "traceparent" : ' || to_json((t.d).traceparent), '}') as closing
	from (
		select s.d, s.vehicle_id, s.fleet_id, s.head_seq, s.head_place, s.audience, s.claims, s.protocol, s.wakeup, s.owner, s.at, s.expires_at,
			rfc3339(s.at) as created, rfc3339(s.expires_at) as expires, to_json((s.d).subject)::text as issuer,
			coalesce('"' || rfc3339(s.since) || '"', 'null') as since, s.reason, s.verifying,
			case when s.reachable then 'accepted' else 'waiting' end::command_status as status,
			s.hears and s.queued = 0 and s.offers is not true as may_go,
			case
				when not s.exists or s.rank = 0 then 'not_found'
				when s.rank < (s.d).needs then 'forbidden'
				when s.had_turn then 'replayed'
				when (s.d).key is not null and (s.owner).command_id is null then 'keyless'
				when (s.owner).sent_at is not null and (s.owner).fingerprint = (s.d).fingerprint
					and ((s.d).admin or (s.owner).sent_at >= grant_since((s.d).subject, s.vehicle_id, s.fleet_id)) then 'replayed'
				when (s.owner).sent_at is not null or (s.owner).is_batchs then 'reused'
				-- by another of these, for another vehicle
				when (s.owner).command_id <> (s.d).id and (s.owner).command_id = any($5::uuid[]) then 'reused'
				when s.queued >= $2::int or s.open >= $2::int + 1000 then 'queue_full'
				else 'created' end as outcome
		from (
			select i.d, i.vehicle_id, v.vehicle_id is not null as exists, v.fleet_id, v.protocol, h.seq as head_seq, h.ctid as head_place,
				h.reachable, h.since, h.reason, h.verifying, audience(h) as audience, h.claims, i.at, i.at + make_interval(secs => (i.d).ttl) as expires_at,
				case when (i.d).key is not null then key_owner((i.d).subject, (i.d).key) end as owner,
				case when (i.d).batch_id is not null then batch_had_turn((i.d).batch_id, i.vehicle_id) end as had_turn,
				case when (i.d).admin then 3 else g.rank end as rank,
				case when (i.d).wake and not h.reachable then (select a.step from absences a where a.vehicle_id = i.vehicle_id
					and (a.due_at is not null or a.refused = 'NO_MSISDN' and v.msisdn is null)) end as wakeup,
				q.queued, q.open, q.offers,
				case when (i.d).publisher is not null and h.reachable and h.claim_id is null
					and (h.subscribed or coalesce(h.taken_at < clock_timestamp() - interval '1 second', true))
					then (select f.subscribed from leases f where f.name = 'feed/' || case v.protocol when 'keyfob' then (i.d).feed else v.protocol end)
						and (select w.expires_at > clock_timestamp() from leases w where w.name = 'worker/' || (i.d).publisher) end as hears
			from (select u.d, (u.d).vehicle_id, clock_timestamp() as at from (select unnest($1::accept_draft[]) as d) u offset 0) i
			left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
			left join vehicle_heads h on h.vehicle_id = i.vehicle_id
			cross join lateral grant_ranks((i.d).subject, i.vehicle_id, v.fleet_id) g
			cross join lateral (
				-- with order and limit, so that the index of what is open is read, and not the vehicle's history
				select count(*) filter (where o.status <> 'sent') as queued, count(*) as open, bool_or(o.offers) as offers from (
					select c.status, c.status = 'sent' and c.flight = 'out' and c.redelivery <> 'never'
						and c.publish_session is distinct from audience(h) and c.publish_session is distinct from h.session as offers
					from commands c where c.vehicle_id = i.vehicle_id and c.status in ('accepted', 'waiting', 'sent')
						and c.id >= $3::uuid and c.id < $4::uuid order by c.accepted_seq limit $2::int + 1000) o
			) q
			offset 0
		) s
		offset 0
	) t
), made as (
	insert into commands (vehicle_id, id, status, flight, name, params, sealed_params, issued_by, wake, redelivery, catalog, traceparent, tracestate,
		accepted_seq, attempts, publish_session, timeout_seconds, timeline, created_at, expires_at, updated_at, due_at)
	select j.vehicle_id, (j.d).id, j.status, j.flight, (j.d).name, (j.d).params, (j.d).sealed_params, (j.d).subject, (j.d).wake, (j.d).redelivery,
		(j.d).catalog, (j.d).traceparent, (j.d).tracestate,
		j.head_seq + 1, (j.flight = 'claimed')::integer, case when j.flight = 'claimed' then j.audience end, (j.d).timeout,
		concat('[', step_text('accepted', concat('{"by": ', j.issuer, ', "ttl_seconds": ', (j.d).ttl, '}'), j.created),
			', ', step_text('reachability', concat(case when j.status = 'waiting' then '{"state": "disconnected", "since": ' else '{"state": "connected", "since": ' end,
				j.since, ', "verifying": ', j.verifying::text, '}'), j.created),
			case when j.flight = 'claimed' then
				', ' || step_text('claimed', concat('{"worker": ', to_json((j.d).publisher), ', "attempt": 1}'), j.created) end,
			case when j.wakeup is not null then ', ' || step_text('wakeup', j.wakeup::text, j.created) end,
			case when j.status = 'waiting' then
				', ' || step_text('reachability', concat('{"state": "disconnected", "since": ', j.since, ', "reason": ', coalesce(to_json(j.reason)::text, 'null'), '}'), j.created) end,
			']')::jsonb,
		j.at, j.expires_at, j.at, command_due(j.status, j.flight, j.at, j.expires_at, null, (j.d).timeout)
	from judged j where j.outcome = 'created'
), told as (
	insert into events (vehicle_id, seq, at, type, data, fleet_id)
	select j.vehicle_id, j.head_seq + 1, clock_timestamp(), 'command.updated', concat(j.opening, 'accepted', j.closing)::json, j.fleet_id
	from judged j where j.outcome = 'created'
	union all
	select j.vehicle_id, j.head_seq + 2, clock_timestamp(), 'command.updated', concat(j.opening, 'waiting', j.closing)::json, j.fleet_id
	from judged j where j.outcome = 'created' and j.status = 'waiting'
), raised as (
	-- of a subquery, so that no more than these is copied for each row
	update vehicle_heads h set seq = j.seq, claim_id = coalesce(j.claim_id, h.claim_id), claim_worker = coalesce(j.claim_worker, h.claim_worker),
		claim_attempt = coalesce(j.claim_attempt, h.claim_attempt), claim_session = coalesce(j.claim_session, h.claim_session)
	from (
		select j.vehicle_id, j.head_place, j.head_seq + case j.status when 'waiting' then 2 else 1 end as seq,
			case when j.flight = 'claimed' then (j.d).id end as claim_id, case when j.flight = 'claimed' then (j.d).publisher end as claim_worker,
			case when j.flight = 'claimed' then 1 end as claim_attempt, case when j.flight = 'claimed' then j.audience end as claim_session
		from judged j where j.outcome = 'created' offset 0
	) j
	where h.ctid = j.head_place and h.vehicle_id = j.vehicle_id
), noted as (
	insert into audit (who, action, object, allowed, detail)
	select coalesce((select a.id from actors a where a.subject = (j.d).subject and a.address = coalesce((j.d).address, '') limit 1),
			actor((j.d).subject, (j.d).address)), 'command.send', j.vehicle_id,
		j.outcome in ('created', 'queue_full'), concat('{"id" : "', (j.d).id, '", "name" : "', (j.d).name, '"}')::json
	from judged j where j.outcome in ('created', 'not_found', 'forbidden', 'queue_full')
)
select (j.d).n, j.outcome, case j.outcome when 'created' then concat(j.opening, 'accepted', j.closing)
		when 'replayed' then command_told((j.owner).vehicle_id, (j.owner).command_id) end as command,
	j.flight = 'claimed' as claimed, j.created as issued_at, j.expires,
	case when j.flight = 'claimed' then (extract(epoch from j.expires_at) * 1000000)::bigint end as expires_us,
	j.audience as session, j.protocol, j.claims,
	case when j.wakeup is not null and j.outcome = 'created' then absence_join(j.vehicle_id, j.head_seq + 1) end,
	case when (j.owner).command_id <> (j.d).id and j.outcome = 'created' then key_take(j.d) end
from judged j
