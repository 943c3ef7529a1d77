-- What a transaction costs before its first command: most of it was setting statements up. What is needed rarely is a function in PL/pgSQL, whose
-- plan need not be set up by a statement that does not call it, and which goes by its key whenever that was made.

-- One command to accept, as accept.sql is handed it. (A later version that needs another field makes another type.)
create type accept_draft as (
	n              integer,                        -- its number among those of the statement
	id             uuid,
	vehicle_id     text collate "C",
	subject        text,
	admin          boolean,
	needs          integer,                        -- the rank that the catalogue demands
	key            text,
	fingerprint    text,
	batch_id       uuid,
	wake           boolean,
	ttl            integer,
	timeout        integer,
	feed           text,                           -- on which its answers will come
	publisher      text,                           -- the worker that can publish it; null: none can
	address        text,
	name           text,
	params         json,
	sealed_params  text,
	redelivery     text,
	catalog        json,
	traceparent    text,
	tracestate     text
);

-- Whose an idempotency key is.
create type key_owner as (
	vehicle_id  text,
	command_id  uuid,
	fingerprint text,
	is_batchs   boolean,                           -- a batch's, of this day
	sent_at     timestamptz                        -- when the command of this day was accepted; null: there is none
);
create function key_owner(who text, what text) returns key_owner language plpgsql stable as $$
declare
	o key_owner;
begin
	select k.vehicle_id, k.command_id, k.fingerprint, k.batch_id is not null and k.created_at > now() - interval '24 hours',
		case when k.created_at > now() - interval '24 hours' then (
			select c.created_at from commands c where c.vehicle_id = k.vehicle_id and c.id = k.command_id) end
	into o from idempotency k where k.subject = who and k.key = what;
	return o;
end $$;

-- A key whose command never came about, or whose day is over, belongs to the new command.
create function key_take(d accept_draft) returns void language plpgsql as $$
begin
	update idempotency k set command_id = d.id, batch_id = null, vehicle_id = d.vehicle_id, fingerprint = d.fingerprint, created_at = now()
	where k.subject = d.subject and k.key = d.key;
end $$;

create function batch_had_turn(batch uuid, vehicle text) returns boolean language plpgsql stable as $$
begin
	return exists (select from batch_targets t where t.batch_id = batch and t.vehicle_id = vehicle and t.fed);
end $$;

create function command_told(vehicle text, command uuid) returns text language plpgsql stable as $$
begin
	return (select command_json(c)::text from commands c where c.vehicle_id = vehicle and c.id = command);
end $$;

-- A command that was accepted with the wake-up that is under way in its timeline.
create function absence_join(vehicle text, seq bigint) returns void language plpgsql as $$
begin
	update absences a set seen_seq = seq where a.vehicle_id = vehicle;
end $$;

-- The status that a command has; null: there is none.
create function command_status_now(vehicle text, command uuid) returns command_status language plpgsql stable as $$
begin
	return (select c.status from commands c where c.vehicle_id = vehicle and c.id = command);
end $$;

-- Whether an answer repeats the one that was kept: a result that it leaves out is that of its progress.
create function answer_is_kept(vehicle text, command uuid, event text, why json, outcome json, sealed text) returns boolean language plpgsql stable as $$
begin
	return exists (select from commands c where c.vehicle_id = vehicle and c.id = command and c.status::text = event
		and (outcome is null or c.result::jsonb = outcome::jsonb) and c.reason::jsonb is not distinct from why::jsonb
		and (sealed is null or c.sealed_result = sealed));
end $$;

-- Applies lifecycle events to commands whose vehicles' heads the caller has locked: changes what the table
-- allows, writes the events that apps see, raises the heads' seq, and keeps the head's claim equal to the
-- command's flight. `worker` is who claims (null: nobody does; at most one command of a vehicle). A row for each input, in its order: applied,
-- and the command's status afterwards (null: no such command of this vehicle). A timeline has room for 200 steps, and for those that end it.
-- What is changed is returned as it is, and its texts are put together afterwards: what is returned is set up for each partition.
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
			claim_session = case when p.claims then audience(h) when not p.freed then h.claim_session end
		from (select p.place, p.vehicle_id, p.seq + p.told as seq, p.claims, p.id, p.attempts, coalesce(p.freed, false) as freed
			from placed p where p.is_last and (p.told > 0 or p.claims or p.freed) offset 0) p
		where h.ctid = p.place and h.vehicle_id = p.vehicle_id
	)
	select p.n, true, p.status from placed p
	union all
	select i, false, command_status_now(vehicles[i], ids[i]) from generate_series(1, cardinality(vehicles)::bigint) i where i <> all (array(select p.n from placed p))
	order by 1;
end $$;

-- What is checked is read anew from its text by each statement that changes a table, at some 110 instructions a word: it is said once, and
-- shortly. (`not valid`: what is there passed the checks of before, and need not be read again under the table's lock.)
alter table commands
	drop constraint commands_redelivery_check, drop constraint commands_timeout_seconds_check,
	drop constraint final_is_finished, drop constraint open_is_due, drop constraint undelivered_never_left,
	add constraint is_whole check (
		(status >= 'succeeded') = (finished_at is not null)       -- final is finished
		and (status <= 'in_progress') = (due_at is not null)      -- open is due
		and (status < 'expired' or flight = 'none')               -- what ended undelivered never left
		and timeout_seconds between 1 and 86400 and (redelivery = 'never' or redelivery = 'on_reconnect')) not valid;
create or replace trigger commands_guard_insert before insert on commands for each row
	when (new.status > 'waiting' or new.flight > 'claimed' or new.status = 'waiting' and new.flight <> 'none')
	execute function command_guard_insert();
-- S6, as before: no change but those of the table, whoever asks. Whether there is one is looked at here, too.
do $migration$
begin
	execute format($sql$
create or replace function command_guard() returns trigger language plpgsql as $$
begin
	if (old.status <> new.status or old.flight <> new.flight)
		and old.status::text || ' ' || old.flight || ' ' || new.status || ' ' || new.flight <> all (%L::text[]) then
		raise exception 'command %%: %% (%%) cannot become %% (%%)', old.id, old.status, old.flight, new.status, new.flight
			using errcode = 'check_violation';
	end if;
	return new;
end $$
	$sql$, (select array_agg(distinct concat_ws(' ', l.from_status, l.from_flight, l.to_status, l.to_flight)) from lifecycle_paths l));
end $migration$;
create or replace trigger commands_guard before update of status, flight on commands for each row execute function command_guard();

-- Ends every transaction, when absences are settled, of those vehicles of which something is left to do (settle_commands.sql looks for them).
-- A vehicle that is away has only waiting commands; of each reachable one whose
-- head has no claim, the oldest unsent command is claimed for this worker, and returned to be published. Where it cannot publish
-- (`publishes` false), or nobody would hear the answer yet (on its feed, or the one of its protocol), a timer offers it again. Likewise
-- where the session was just connected and has not subscribed: nobody would hear the request. One that is silent about it for a
-- second (a resumed session, on some brokers) is tried.
-- A vehicle that is away is tried once so before it is woken by SMS (absences, 'probe'): whoever was there all along gets the command.
-- With less than half a second left nothing is offered (dispatch.c has it too), nor what is from before a retirement. What was sent to a session is not
-- offered to it again for having unsubscribed. `oldest`: an id from before which nothing is open.
create function settle_open(concerned text[], their_feeds text[], worker text, publishes boolean, oldest uuid)
returns table (vehicle_id text, id uuid, name text, params json, sealed_params text, issued_at text, expires_at text, attempt integer,
	expires_us bigint, traceparent text, session text, protocol text) language plpgsql as $$
#variable_conflict use_column
begin
	perform settle_absent(concerned);
	return query
	with open as materialized (
		select h.vehicle_id, audience(h) as session, h.reachable, v.protocol, p.*,
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
		m.attempts + 1 as attempt, (extract(epoch from m.expires_at) * 1000000)::bigint as expires_us, m.traceparent, m.session, m.protocol
	from rows from (
		command_apply(worker, array(select vehicle_id from may), array(select id from may), array(select 'claim' from may),
			array(select null::json from may), array(select null::json from may), array(select null::text from may),
			array(select step('claimed', jsonb_build_object('worker', worker, 'attempt', attempts + 1)
				|| case when reachable then '{}' else '{"probe": true}' end::jsonb) from may)),
		unnest(array(select vehicle_id from may), array(select id from may), array(select name from may), array(select params from may),
			array(select sealed_params from may), array(select created_at from may), array(select expires_at from may),
			array(select attempts from may), array(select traceparent from may), array(select session from may), array(select protocol from may)))
		as m(n, applied, status, vehicle_id, id, name, params, sealed_params, created_at, expires_at, attempts, traceparent, session, protocol)
	where m.applied
	order by m.n;
end $$;

-- What nodes of the version before end their transactions with.
create or replace function settle_commands(vehicles text[], feeds text[], worker text, publishes boolean)
returns table (vehicle_id text, id uuid, name text, params json, sealed_params text, issued_at text, expires_at text, attempt integer,
	expires_us bigint, traceparent text, session text, protocol text) language plpgsql as $$
begin
	return query select * from settle_open(vehicles, feeds, worker, publishes, uuid7_floor(now() - interval '8 days'));
end $$;
