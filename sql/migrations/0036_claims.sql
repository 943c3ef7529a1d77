-- A claim has a number of its own. Until here it was known by its command, its worker and its attempt; but a claim that was released, or found
-- nobody, is no attempt, so the next one of that worker was the same. Where a worker did not hear that its release was recorded, and recorded it once
-- more when another of its node had claimed the command for it anew, that claim was released, and what was about to be published could be
-- published twice, or end as never sent. Nodes of the version before raise the number (command_apply()) and do not name it.
alter table vehicle_heads add column claims integer not null default 0;

-- As before, and a claim raises its head's number. (One that is made by accept.sql is its command's first: the number that stands there will do.)
create or replace function command_apply(worker text, vehicles text[], ids uuid[], what text[], reasons json[], results json[], sealed text[], steps jsonb[])
returns table (n bigint, applied boolean, status command_status) language plpgsql as $$
declare
	at constant timestamptz := clock_timestamp();
	at_text text;
begin
	if cardinality(vehicles) = 0 then
		return; -- mostly nobody is away, nothing is superseded: the plan below need not be set up for it
	end if;
	at_text := rfc3339(at);
	return query
	with hit as (
		update commands c set
			status = l.to_status,
			flight = l.to_flight,
			attempts = c.attempts + case i.event when 'claim' then 1 when 'release' then -1 when 'disprove' then -1 else 0 end,
			reason = case when l.tells then i.reason else c.reason end,
			result = coalesce(i.result, c.result),
			sealed_result = coalesce(i.sealed_result, c.sealed_result),
			late = c.late or c.status = 'timed_out' and l.to_status in ('succeeded', 'failed', 'rejected'),
			sent_at = coalesce(c.sent_at, case when l.to_status = 'sent' or l.arrives then at end),
			finished_at = case when l.to_status >= 'succeeded' then coalesce(c.finished_at, at) end,
			due_at = case when l.to_status = c.status and l.from_flight = l.to_flight and not l.tells then c.due_at
				else command_due(l.to_status, l.to_flight, at, c.expires_at, coalesce(c.sent_at, at), c.timeout_seconds) end,
			publish_session = case when i.event = 'claim' then (select audience(h) from vehicle_heads h where h.vehicle_id = c.vehicle_id)
				when i.event not in ('release', 'lose') then c.publish_session end,
			timeline = c.timeline || case when jsonb_array_length(c.timeline) < 200 or l.to_status >= 'timed_out' then coalesce(i.step, '[]') else '[]' end,
			updated_at = at
		from unnest(vehicles, ids, what, reasons, results, sealed, steps)
				with ordinality as i(vehicle_id, id, event, reason, result, sealed_result, step, n),
			lifecycle_paths l
		where c.vehicle_id = i.vehicle_id and c.id = i.id
			and l.event = i.event and l.from_status = c.status and l.from_flight = c.flight
		returning i.n, c.vehicle_id, c.id, c.status, c.flight, c.attempts, l.tells, l.arrives, c.name, c.params, c.reason, c.result,
			c.late, c.issued_by, c.timeout_seconds, c.created_at, c.expires_at, c.sent_at, c.finished_at, c.sealed_params, c.sealed_result, c.traceparent
	), placed as materialized (
		select hit.n, hit.vehicle_id, hit.id, hit.status, hit.flight, hit.attempts, h.seq, h.place, v.fleet_id, hit.tells, hit.arrives,
			hit.reason, hit.result, hit.late, hit.sealed_result, hit.finished_at,
			hit.flight in ('claimed', 'claimed_out') as claims,
			sum(hit.tells::integer + hit.arrives::integer) over w as told, lead(hit.n) over w is null as is_last,
			bool_or(h.claim_id = hit.id and hit.flight in ('none', 'out')) over w as freed,
			concat('{"id" : "', hit.id, '", "vehicle_id" : "', hit.vehicle_id, '", "name" : "', hit.name, '", "params" : ', coalesce(hit.params::text, 'null'), ', "status" : "') as opening,
			concat(', "issued_by" : ', to_json(hit.issued_by), ', "attempts" : ', hit.attempts, ', "timeout_seconds" : ', hit.timeout_seconds,
				', "created_at" : "', rfc3339(hit.created_at), '", "expires_at" : "', rfc3339(hit.expires_at), '", "updated_at" : "', at_text,
				'", "sent_at" : ', coalesce('"' || case when hit.sent_at = at then at_text else rfc3339(hit.sent_at) end || '"', 'null')) as middle,
			', "sealed_params" : ' || to_json(hit.sealed_params) as sealed_params, concat(', "traceparent" : ' || to_json(hit.traceparent), '}') as closing
		from hit
			cross join lateral (select h.seq, h.ctid as place, h.claim_id from vehicle_heads h where h.vehicle_id = hit.vehicle_id offset 0) h
			cross join lateral (select v.fleet_id from vehicles v where v.vehicle_id = hit.vehicle_id offset 0) v
		window w as (partition by hit.vehicle_id order by hit.n)
	), told as (
		insert into events (vehicle_id, seq, at, type, data, fleet_id)
		select p.vehicle_id, p.seq + p.told - p.tells::integer, at, 'command.updated', concat(p.opening, 'sent", "reason" : null, "result" : null, "late" : ',
			p.late::text, ', "may_have_executed" : true', p.middle, ', "finished_at" : null', p.sealed_params, p.closing)::json, p.fleet_id
		from placed p where p.arrives
		union all
		select p.vehicle_id, p.seq + p.told, at, 'command.updated', concat(p.opening, p.status, '", "reason" : ', coalesce(p.reason::text, 'null'), ', "result" : ', coalesce(p.result::text, 'null'),
			', "late" : ', p.late::text, ', "may_have_executed" : ', (p.flight <> 'none' and p.status <= 'timed_out')::text, p.middle, ', "finished_at" : ',
			coalesce('"' || case when p.finished_at = at then at_text else rfc3339(p.finished_at) end || '"', 'null'), p.sealed_params, ', "sealed_result" : ' || to_json(p.sealed_result), p.closing)::json, p.fleet_id
		from placed p where p.tells
	), raised as (
		update vehicle_heads h set seq = p.seq,
			claim_id = case when p.claims then p.id when not p.freed then h.claim_id end,
			claim_worker = case when p.claims then worker when not p.freed then h.claim_worker end,
			claim_attempt = case when p.claims then p.attempts when not p.freed then h.claim_attempt end,
			claim_session = case when p.claims then audience(h) when not p.freed then h.claim_session end,
			claims = h.claims + p.claims::integer
		from (select p.place, p.vehicle_id, p.seq + p.told as seq, p.claims, p.id, p.attempts, coalesce(p.freed, false) as freed
			from placed p where p.is_last and (p.told > 0 or p.claims or p.freed) offset 0) p
		where h.ctid = p.place and h.vehicle_id = p.vehicle_id
	)
	select p.n, true, p.status from placed p
	union all
	select i, false, command_status_now(vehicles[i], ids[i]) from generate_series(1, cardinality(vehicles)::bigint) i where i <> all (array(select p.n from placed p))
	order by 1;
end $$;

-- As settle_open() was, with the claim's number.
create function settle_claims(concerned text[], their_feeds text[], worker text, publishes boolean, oldest uuid)
returns table (vehicle_id text, id uuid, name text, params json, sealed_params text, issued_at text, expires_at text, attempt integer,
	expires_us bigint, traceparent text, session text, protocol text, number integer) language plpgsql as $$
#variable_conflict use_column
begin
	perform settle_absent(concerned);
	return query
	with open as materialized (
		select h.vehicle_id, audience(h) as session, h.reachable, h.claims + 1 as number, v.protocol, p.*,
			publishes and f.subscribed and (h.subscribed or coalesce(h.taken_at < clock_timestamp() - interval '1 second', true)) as may
		from unnest(concerned, their_feeds) as i(vehicle_id, feed)
		join vehicle_heads h on h.vehicle_id = i.vehicle_id and h.claim_id is null
			and (h.reachable or is_to_be_probed(h.vehicle_id))
		join vehicles v on v.vehicle_id = h.vehicle_id and v.retired_at is null
		join leases f on f.name = 'feed/' || case v.protocol when 'keyfob' then i.feed else v.protocol end
		cross join lateral (
			select c.id, c.name, c.params, c.sealed_params, c.created_at, c.expires_at, c.attempts, c.traceparent
			from commands c
			where c.vehicle_id = h.vehicle_id and c.id >= oldest and c.created_at >= v.created_at
				and c.status in ('accepted', 'waiting', 'sent') and c.expires_at >= clock_timestamp() + interval '500 milliseconds'
				and (c.flight = 'none'
				  or c.flight = 'out' and c.redelivery <> 'never'
				     and (c.status <> 'sent' or c.publish_session is distinct from audience(h) and c.publish_session is distinct from h.session))
			order by c.accepted_seq limit 1
		) p
		order by h.vehicle_id
	), later as (
		insert into timers (kind, vehicle_id, due_at)
		select 'offer', o.vehicle_id, clock_timestamp() + interval '1 second' from open o where not o.may
		on conflict (kind, vehicle_id) do update set due_at = excluded.due_at
	), may as materialized (
		select * from open where open.may
	), probing as (
		update absences a set phase = 'probing', probe_id = m.id, due_at = clock_timestamp() + interval '10 seconds'
		from may m where not m.reachable and a.vehicle_id = m.vehicle_id
	)
	select m.vehicle_id, m.id, m.name, m.params, m.sealed_params, rfc3339(m.created_at) as issued_at, rfc3339(m.expires_at) as expires_at,
		m.attempts + 1 as attempt, (extract(epoch from m.expires_at) * 1000000)::bigint as expires_us, m.traceparent, m.session, m.protocol, m.number
	from rows from (
		command_apply(worker, array(select vehicle_id from may), array(select id from may), array(select 'claim' from may),
			array(select null::json from may), array(select null::json from may), array(select null::text from may),
			array(select step('claimed', jsonb_build_object('worker', worker, 'attempt', attempts + 1)
				|| case when reachable then '{}' else '{"probe": true}' end::jsonb) from may)),
		unnest(array(select vehicle_id from may), array(select id from may), array(select name from may), array(select params from may),
			array(select sealed_params from may), array(select created_at from may), array(select expires_at from may),
			array(select attempts from may), array(select traceparent from may), array(select session from may), array(select protocol from may), array(select number from may)))
		as m(n, applied, status, vehicle_id, id, name, params, sealed_params, created_at, expires_at, attempts, traceparent, session, protocol, number)
	where m.applied
	order by m.n;
end $$;

-- What nodes of the version before end their transactions with.
create or replace function settle_open(concerned text[], their_feeds text[], worker text, publishes boolean, oldest uuid)
returns table (vehicle_id text, id uuid, name text, params json, sealed_params text, issued_at text, expires_at text, attempt integer,
	expires_us bigint, traceparent text, session text, protocol text) language plpgsql as $$
begin
	return query select s.vehicle_id, s.id, s.name, s.params, s.sealed_params, s.issued_at, s.expires_at, s.attempt, s.expires_us, s.traceparent,
		s.session, s.protocol from settle_claims(concerned, their_feeds, worker, publishes, oldest) s;
end $$;
