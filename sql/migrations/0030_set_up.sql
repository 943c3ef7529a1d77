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
