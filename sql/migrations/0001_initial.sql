-- The first schema. Read docs/architecture.md ("The data") beside it.

-- ── ids and times ────────────────────────────────────────────────────────────

-- A function in SQL is planned anew in every statement that calls it, unless it can be written out in its place: a single
-- expression, and declared no more constant than what it is made of. What has a table to read is in PL/pgSQL, whose
-- plans last as long as the connection.

-- The smallest UUIDv7 (RFC 9562 §5.7) of a millisecond: where the id range of that time begins.
create function uuid7_floor(at timestamptz) returns uuid language sql stable parallel safe as
$$ select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid $$;

create function rfc3339(at timestamptz) returns text language sql stable parallel safe as
$$ select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;

-- ── the installation ─────────────────────────────────────────────────────────

create table meta (
	only_row     boolean primary key default true check (only_row),
	installation uuid not null default gen_random_uuid(),
	epoch        bigint not null default 1              -- raised by keyfobd --new-epoch
);
insert into meta default values;

-- ── vehicles ─────────────────────────────────────────────────────────────────

create table fleets (
	fleet_id   text collate "C" primary key,
	title      text not null default '',
	created_at timestamptz not null default now(),
	updated_at timestamptz not null default now()
);

-- What is known of a vehicle. Wide, and changed rarely.
create table vehicles (
	vehicle_id       text collate "C" primary key,
	display_name     text,
	msisdn           text,
	iccid            text,
	fleet_id         text collate "C" references fleets,
	tags             text[] not null default '{}',
	reported         jsonb not null default '{}',
	reported_version bigint,
	desired          jsonb not null default '{}',
	desired_version  bigint not null default 0,
	created_at       timestamptz not null default now(),
	updated_at       timestamptz not null default now(),
	retired_at       timestamptz
);
create index vehicles_fleet on vehicles (fleet_id, vehicle_id) where retired_at is null;

-- The row that is locked: its lock orders everything about a vehicle. Narrow, changed with every
-- event, no further index. A vehicle that the broker announced before it was registered has a head alone.
create table vehicle_heads (
	vehicle_id     text collate "C" primary key,
	seq            bigint not null default 0,
	-- reachability (docs/reachability.md); the session is the broker's sessionIdentifier
	reachable      boolean not null default false,
	since          timestamptz,
	reason         text,
	session        text,
	version        bigint,                      -- versionNumber of the last connect that counted
	connected_at   timestamptz,                 -- timestamp of the session's connect; null until it came
	linked         boolean not null default false,-- the session's disconnect did not come yet
	subscribed     boolean not null default false,-- the session was told as subscribed to its requests
	verifying      boolean not null default false,-- a disconnect is waited out (timers, 'verify')
	leaving        text,                        -- why, while it is
	seen_at        timestamptz,                 -- when the broker last named it as subscribed
	past_sessions  text[] not null default '{}',-- the last few that were stored before
	-- the claim to publish: at most one command of a vehicle is between claim and PUBACK
	claim_id       uuid,
	claim_worker   text,
	claim_attempt  integer,
	claim_session  text,
	check ((claim_id is null) = (claim_worker is null)),
	check ((claim_id is null) = (claim_attempt is null))
) with (fillfactor = 50);

-- Who hears a request at this moment: a session, and whether it is known to have subscribed. What was published to one
-- audience is offered to the next, and a PUBACK 0x10 disproves the one that its claim was made under.
create function audience(h vehicle_heads) returns text language sql immutable parallel safe as
$$ select coalesce(h.session, '') || case when h.subscribed then '' else '?' end $$;

-- ── grants ───────────────────────────────────────────────────────────────────

create table grants (
	object_kind text not null check (object_kind in ('vehicle', 'fleet')),
	object_id   text collate "C" not null,
	subject     text not null,
	role        text not null,
	expires_at  timestamptz,
	granted_by  text not null,
	created_at  timestamptz not null default now(),
	primary key (object_kind, object_id, subject),
	check (role in ('owner', 'driver', 'viewer') and object_kind = 'vehicle'
	    or role in ('manager', 'operator', 'viewer') and object_kind = 'fleet')
);
create index grants_subject on grants (subject);

-- 1 reads, 2 commands, 3 grants and registers, 0 nothing.
create function role_rank(role text) returns integer language sql immutable parallel safe as
$$ select case role when 'owner' then 3 when 'manager' then 3 when 'driver' then 2 when 'operator' then 2 when 'viewer' then 1 else 0 end $$;

-- What a subject may do with a vehicle at this instant.
create function grant_rank(who text, vehicle text, fleet text) returns integer language plpgsql stable parallel safe as $$
begin
	return (select coalesce(max(role_rank(g.role)), 0) from grants g
		where g.subject = who and (g.expires_at is null or g.expires_at > now())
			and (g.object_kind = 'vehicle' and g.object_id = vehicle or g.object_kind = 'fleet' and g.object_id = fleet));
end $$;

-- Since when a subject may see a vehicle's events; a manager sees all; null: nothing.
create function grant_since(who text, vehicle text, fleet text) returns timestamptz language sql stable parallel safe as
$$ select min(case when g.role = 'manager' then '-infinity'::timestamptz else g.created_at end) from grants g
   where g.subject = who and (g.expires_at is null or g.expires_at > now())
     and (g.object_kind = 'vehicle' and g.object_id = vehicle or g.object_kind = 'fleet' and g.object_id = fleet) $$;

-- What of the desired state is not yet reported; objects are compared member by member.
create function state_delta(desired jsonb, reported jsonb) returns jsonb language sql immutable parallel safe as $$
	select coalesce(jsonb_object_agg(d.key, case
			when jsonb_typeof(d.value) = 'object' and jsonb_typeof(reported -> d.key) = 'object' then state_delta(d.value, reported -> d.key)
			else d.value end), '{}')
	from jsonb_each(desired) d
	where reported -> d.key is distinct from d.value
		and not (jsonb_typeof(d.value) = 'object' and jsonb_typeof(reported -> d.key) = 'object'
		         and state_delta(d.value, reported -> d.key) = '{}') $$;

-- Changes when the database's history was not continued: another cluster, a new timeline (unless a synchronous standby
-- was promoted: then nothing is missing), or --new-epoch after a restore.
create function history_epoch(synchronous boolean) returns text language plpgsql stable as $$
begin
	return (select left(md5(concat_ws('/', (select system_identifier from pg_control_system()),
			case when not synchronous then (select timeline_id from pg_control_checkpoint()) end, m.epoch, m.installation)), 16)
		from meta m);
end $$;

-- A vehicle as the outside sees it; msisdn and iccid are shown to managers and admin alone.
create function vehicle_json(v vehicles, h vehicle_heads, is_manager boolean, epoch text) returns json language sql stable as $$
	select json_build_object(
		'vehicle_id', v.vehicle_id, 'display_name', v.display_name,
		'msisdn', case when is_manager then v.msisdn end, 'iccid', case when is_manager then v.iccid end,
		'fleet_id', v.fleet_id, 'tags', to_json(v.tags),
		'connectivity', json_build_object('state', case when h.reachable then 'connected' else 'disconnected' end,
			'since', rfc3339(h.since), 'verifying', h.verifying, 'reason', h.reason),
		'state', json_build_object('reported', v.reported, 'desired', v.desired, 'delta', case when v.desired = '{}' then '{}' else state_delta(v.desired, v.reported) end),
		'seq', h.seq, 'epoch', epoch, 'created_at', rfc3339(v.created_at), 'updated_at', rfc3339(v.updated_at)) $$;

-- Whether a subject is manager of a vehicle's fleet at this instant.
create function is_manager(who text, fleet text) returns boolean language plpgsql stable parallel safe as $$
begin
	return exists (select from grants g where g.subject = who and g.object_kind = 'fleet' and g.object_id = fleet and g.role = 'manager'
		and (g.expires_at is null or g.expires_at > now()));
end $$;

-- RFC 7396.
create function json_merge_patch(target jsonb, patch jsonb) returns jsonb language plpgsql immutable parallel safe as $$
declare
	merged jsonb := case when jsonb_typeof(target) = 'object' then target else '{}' end;
	k text;
	v jsonb;
begin
	if jsonb_typeof(patch) <> 'object' then
		return patch;
	end if;
	for k, v in select * from jsonb_each(patch) loop
		if jsonb_typeof(v) = 'null' then
			merged := merged - k;
		elsif jsonb_typeof(v) = 'object' then
			merged := jsonb_set(merged, array[k], json_merge_patch(merged -> k, v));
		else
			merged := jsonb_set(merged, array[k], v);
		end if;
	end loop;
	return merged;
end $$;

-- ── commands ─────────────────────────────────────────────────────────────────

create type command_status as enum ('accepted', 'waiting', 'sent', 'in_progress', 'timed_out',
                                    'succeeded', 'failed', 'rejected', 'expired', 'canceled');
-- What is known of its publishes: none possible or undisproved; one claimed; one out; one out and another claimed.
create type command_flight as enum ('none', 'claimed', 'out', 'claimed_out');

-- The lifecycle, row for row commands/lifecycle.tbl.h (a test compares them).
create table lifecycle (
	event       text not null,
	from_status command_status not null,
	from_flight command_flight not null,
	to_status   command_status not null,
	to_flight   command_flight not null,
	tells       boolean not null,               -- makes a command.updated event
	primary key (event, from_status, from_flight)
);

insert into lifecycle (event, from_status, from_flight, to_status, to_flight, tells) values
	('claim', 'accepted', 'none', 'accepted', 'claimed', false),
	('claim', 'accepted', 'out', 'accepted', 'claimed_out', false),
	('claim', 'waiting', 'none', 'waiting', 'claimed', false),
	('claim', 'waiting', 'out', 'waiting', 'claimed_out', false),
	('claim', 'sent', 'out', 'sent', 'claimed_out', false),
	('release', 'accepted', 'claimed', 'accepted', 'none', false),
	('release', 'accepted', 'claimed_out', 'accepted', 'out', false),
	('release', 'waiting', 'claimed', 'waiting', 'none', false),
	('release', 'waiting', 'claimed_out', 'waiting', 'out', false),
	('release', 'sent', 'claimed_out', 'sent', 'out', false),
	('disprove', 'accepted', 'claimed', 'waiting', 'none', true),
	('disprove', 'accepted', 'claimed_out', 'waiting', 'out', true),
	('disprove', 'waiting', 'claimed', 'waiting', 'none', false),
	('disprove', 'waiting', 'claimed_out', 'waiting', 'out', false),
	('disprove', 'sent', 'claimed_out', 'waiting', 'out', true),
	('puback', 'accepted', 'claimed', 'sent', 'out', true),
	('puback', 'accepted', 'claimed_out', 'sent', 'out', true),
	('puback', 'waiting', 'claimed', 'sent', 'out', true),
	('puback', 'waiting', 'claimed_out', 'sent', 'out', true),
	('puback', 'sent', 'claimed_out', 'sent', 'out', false),
	('puback', 'sent', 'out', 'sent', 'out', false),
	('puback', 'in_progress', 'out', 'in_progress', 'out', false),
	('puback', 'timed_out', 'out', 'timed_out', 'out', false),
	('puback', 'succeeded', 'out', 'succeeded', 'out', false),
	('puback', 'failed', 'out', 'failed', 'out', false),
	('puback', 'rejected', 'out', 'rejected', 'out', false),
	('lose', 'accepted', 'claimed', 'accepted', 'out', false),
	('lose', 'accepted', 'claimed_out', 'accepted', 'out', false),
	('lose', 'waiting', 'claimed', 'waiting', 'out', false),
	('lose', 'waiting', 'claimed_out', 'waiting', 'out', false),
	('lose', 'sent', 'claimed_out', 'sent', 'out', false),
	('absent', 'accepted', 'none', 'waiting', 'none', true),
	('absent', 'accepted', 'out', 'waiting', 'out', true),
	('absent', 'sent', 'out', 'waiting', 'out', true),
	('arrive', 'accepted', 'claimed', 'sent', 'out', true),
	('arrive', 'accepted', 'claimed_out', 'sent', 'out', true),
	('arrive', 'accepted', 'out', 'sent', 'out', true),
	('arrive', 'waiting', 'claimed', 'sent', 'out', true),
	('arrive', 'waiting', 'claimed_out', 'sent', 'out', true),
	('arrive', 'waiting', 'out', 'sent', 'out', true),
	('in_progress', 'sent', 'out', 'in_progress', 'out', true),
	('in_progress', 'sent', 'claimed_out', 'in_progress', 'out', true),
	('in_progress', 'in_progress', 'out', 'in_progress', 'out', true),
	('succeeded', 'sent', 'out', 'succeeded', 'out', true),
	('succeeded', 'sent', 'claimed_out', 'succeeded', 'out', true),
	('succeeded', 'in_progress', 'out', 'succeeded', 'out', true),
	('succeeded', 'timed_out', 'out', 'succeeded', 'out', true),
	('failed', 'sent', 'out', 'failed', 'out', true),
	('failed', 'sent', 'claimed_out', 'failed', 'out', true),
	('failed', 'in_progress', 'out', 'failed', 'out', true),
	('failed', 'timed_out', 'out', 'failed', 'out', true),
	('rejected', 'sent', 'out', 'rejected', 'out', true),
	('rejected', 'sent', 'claimed_out', 'rejected', 'out', true),
	('rejected', 'in_progress', 'out', 'rejected', 'out', true),
	('rejected', 'timed_out', 'out', 'rejected', 'out', true),
	('expire', 'accepted', 'none', 'expired', 'none', true),
	('expire', 'waiting', 'none', 'expired', 'none', true),
	('time_out', 'accepted', 'claimed', 'timed_out', 'out', true),
	('time_out', 'accepted', 'claimed_out', 'timed_out', 'out', true),
	('time_out', 'accepted', 'out', 'timed_out', 'out', true),
	('time_out', 'waiting', 'claimed', 'timed_out', 'out', true),
	('time_out', 'waiting', 'claimed_out', 'timed_out', 'out', true),
	('time_out', 'waiting', 'out', 'timed_out', 'out', true),
	('time_out', 'sent', 'out', 'timed_out', 'out', true),
	('time_out', 'sent', 'claimed_out', 'timed_out', 'out', true),
	('time_out', 'in_progress', 'out', 'timed_out', 'out', true),
	('cancel', 'accepted', 'none', 'canceled', 'none', true),
	('cancel', 'waiting', 'none', 'canceled', 'none', true);

create table commands (
	vehicle_id      text collate "C" not null,
	id              uuid not null,
	status          command_status not null default 'accepted',
	flight          command_flight not null default 'none',
	name            text not null,
	params          json,
	sealed_params   text,
	issued_by       text not null,
	wake            boolean not null,
	redelivery      text not null check (redelivery in ('on_reconnect', 'never')),
	catalog         json not null,                      -- what the catalogue said of it at accept
	traceparent     text,
	accepted_seq    bigint not null,                    -- the order of acceptance within the vehicle
	attempts        integer not null default 0,         -- publishes that were not disproved
	publish_session text,                               -- audience() of the last claim
	timeout_seconds integer not null check (timeout_seconds between 1 and 86400),
	reason          json,
	result          json,
	sealed_result   text,
	late            boolean not null default false,
	timeline        jsonb not null default '[]',
	created_at      timestamptz not null,
	expires_at      timestamptz not null,
	updated_at      timestamptz not null,
	sent_at         timestamptz,
	finished_at     timestamptz,
	due_at          timestamptz,                        -- when to look at it next; null: never
	primary key (vehicle_id, id),
	constraint final_is_finished check ((status in ('succeeded', 'failed', 'rejected', 'expired', 'canceled')) = (finished_at is not null)),
	constraint open_is_due check ((status in ('accepted', 'waiting', 'sent', 'in_progress')) = (due_at is not null)),
	constraint undelivered_never_left check (status not in ('expired', 'canceled') or flight = 'none')
) partition by range (id);
create index commands_open on commands (vehicle_id, accepted_seq) where status in ('accepted', 'waiting', 'sent');
create index commands_due on commands (due_at) where due_at is not null;

-- What one update may do to a command: a row of the lifecycle, or an answer to what was claimed, which passes through `sent`
-- (arrives): one row written, both told.
create table lifecycle_paths (
	event       text not null,
	from_status command_status not null,
	from_flight command_flight not null,
	to_status   command_status not null,
	to_flight   command_flight not null,
	tells       boolean not null,
	arrives     boolean not null,
	primary key (event, from_status, from_flight)
);
create index lifecycle_paths_edge on lifecycle_paths (from_status, from_flight, to_status, to_flight);

insert into lifecycle_paths
	select l.*, false from lifecycle l
	union all
	select answer.event, arrive.from_status, arrive.from_flight, answer.to_status, answer.to_flight, answer.tells, true
	from lifecycle arrive join lifecycle answer on answer.from_status = arrive.to_status and answer.from_flight = arrive.to_flight
		and answer.event in ('in_progress', 'succeeded', 'failed', 'rejected')
	where arrive.event = 'arrive';

-- S6: no change but those of the table, whoever asks.
create function command_guard() returns trigger language plpgsql as $$
begin
	if not exists (select from lifecycle_paths l where l.from_status = old.status and l.from_flight = old.flight
	               and l.to_status = new.status and l.to_flight = new.flight) then
		raise exception 'command %: % (%) cannot become % (%)', old.id, old.status, old.flight, new.status, new.flight
			using errcode = 'check_violation';
	end if;
	return new;
end $$;
create trigger commands_guard before update of status, flight on commands for each row
	when (old.status is distinct from new.status or old.flight is distinct from new.flight)
	execute function command_guard();

create function command_guard_insert() returns trigger language plpgsql as $$
begin
	raise exception 'command %: begins as accepted, claimed at most, not as % (%)', new.id, new.status, new.flight using errcode = 'check_violation';
end $$;
create trigger commands_guard_insert before insert on commands for each row
	when (new.status <> 'accepted' or new.flight not in ('none', 'claimed')) execute function command_guard_insert();

-- A command as the outside sees it, without its timeline, in the state that is given: it may have passed through it only. It
-- begins with its id, and what is sealed shows only when it is there.
create function command_json_plain(c commands, status command_status, attempts integer, may_have_executed boolean, reason json, result json,
                                   late boolean, sent_at timestamptz, finished_at timestamptz) returns json language sql stable as $$
	select json_build_object(
		'id', c.id, 'vehicle_id', c.vehicle_id, 'name', c.name, 'params', c.params,
		'status', status, 'reason', reason, 'result', result, 'late', late, 'may_have_executed', may_have_executed,
		'issued_by', c.issued_by, 'attempts', attempts, 'timeout_seconds', c.timeout_seconds,
		'created_at', rfc3339(c.created_at), 'expires_at', rfc3339(c.expires_at), 'updated_at', rfc3339(c.updated_at),
		'sent_at', rfc3339(sent_at), 'finished_at', rfc3339(finished_at)) $$;
-- In PL/pgSQL, since what uses a costly argument twice is not written out in place.
create function json_with_sealed(plain json, params text, result text) returns json language plpgsql immutable parallel safe as $$
begin
	if params is null and result is null then
		return plain;
	end if;
	return (left(plain::text, -1) || coalesce(', "sealed_params" : ' || to_json(params), '')
		|| coalesce(', "sealed_result" : ' || to_json(result), '') || '}')::json;
end $$;
create function command_json(c commands) returns json language sql stable as $$
	select json_with_sealed(command_json_plain(c, c.status, c.attempts,
		c.flight <> 'none' and c.status in ('accepted', 'waiting', 'sent', 'in_progress', 'timed_out'),
		c.reason, c.result, c.late, c.sent_at, c.finished_at), c.sealed_params, c.sealed_result) $$;
-- As it was accepted, before it was claimed.
create function command_json_accepted(c commands) returns json language sql stable as $$
	select json_with_sealed(command_json_plain(c, 'accepted', 0, false, null, null, false, null, null), c.sealed_params, null) $$;
-- As it was sent, before its answer.
create function command_json_sent(c commands) returns json language sql stable as $$
	select json_with_sealed(command_json_plain(c, 'sent', c.attempts, true, null, null, c.late, c.sent_at, null), c.sealed_params, null) $$;

-- When a command has to be looked at next: its deadline, or sooner where somebody may have died over it.
create function command_due(status command_status, flight command_flight, at timestamptz, expires_at timestamptz,
                            sent_at timestamptz, timeout_seconds integer) returns timestamptz language sql stable as $$
	select case
		when status = 'accepted' or status in ('waiting', 'sent') and flight in ('claimed', 'claimed_out')
			then least(at + interval '2 seconds', greatest(expires_at, at + interval '300 milliseconds'))
		when status = 'waiting' then expires_at
		when status in ('sent', 'in_progress') then least(at + make_interval(secs => timeout_seconds), sent_at + interval '24 hours')
	end $$;

-- ── events ───────────────────────────────────────────────────────────────────

-- The log that resume, SSE and webhooks read, and the outbox at once.
create table events (
	vehicle_id text collate "C" not null,
	seq        bigint not null,
	at         timestamptz not null,            -- given out under the head's lock: never runs against seq
	type       text not null,
	data       json not null,
	fleet_id   text collate "C",                -- the vehicle's at that moment
	xid        xid8 not null default pg_current_xact_id(),
	primary key (vehicle_id, seq, at)
) partition by range (at);

-- Which worker has subscribers for what. Unlogged: written anew after every reconnect.
create unlogged table interest (
	kind   text not null check (kind in ('vehicle', 'fleet')),   -- fleet '*': all vehicles
	key    text collate "C" not null,
	worker text collate "C" not null,
	primary key (kind, key, worker)
);
create index interest_worker on interest (worker);

-- ── work that is due, and who may do it ──────────────────────────────────────

create table timers (
	kind       text not null,                   -- 'verify', 'offer'
	vehicle_id text collate "C" not null,
	due_at     timestamptz not null,
	primary key (kind, vehicle_id)
);
create index timers_due on timers (due_at);

-- 'worker/ID' is a worker's own life; 'feed/NN' and 'feed/lifecycle', 'feed/state' are the feeds.
create table leases (
	name       text collate "C" primary key,
	holder     text collate "C",
	node       text,
	epoch      bigint not null default 0,       -- rises with every taking
	expires_at timestamptz,
	subscribed boolean not null default false   -- the broker keeps what comes, held or not
);
insert into leases (name) select 'feed/' || lpad(n::text, 2, '0') from generate_series(0, 31) n
	union all values ('feed/lifecycle'), ('feed/state');

-- A fence: raises unless every lease is still this holder's under this epoch (then it cannot be taken
-- before the transaction ends), and names what is lost. The error undoes the whole transaction.
create function fence(names text[], epochs bigint[], who text) returns void language plpgsql as $$
declare
	held bigint;
	lost text;
begin
	perform from leases l join unnest(names, epochs) as i(name, epoch) on l.name = i.name and l.epoch = i.epoch
		where l.holder = who order by l.name for share of l;
	get diagnostics held = row_count; -- who had to wait for the lock has read the row again
	if held <> cardinality(names) then
		select string_agg(i.name || '@' || i.epoch, ' ') into lost from unnest(names, epochs) as i(name, epoch)
		where not exists (select from leases l where l.name = i.name and l.epoch = i.epoch and l.holder = who);
		raise exception 'fenced: %', lost using errcode = 'KF001';
	end if;
end $$;

-- ── idempotency and audit ────────────────────────────────────────────────────

create table idempotency (
	subject     text not null,
	key         text not null,
	fingerprint text not null,                  -- of vehicle and request value
	vehicle_id  text collate "C" not null,
	command_id  uuid not null,
	created_at  timestamptz not null default now(),
	primary key (subject, key)
);
create index idempotency_age on idempotency (created_at);

create table audit (
	id        bigint generated always as identity primary key,
	at        timestamptz not null default clock_timestamp(),
	subject   text not null,
	action    text not null,
	object    text,
	allowed   boolean not null,
	detail    json
);
create function audit_is_append_only() returns trigger language plpgsql as
$$ begin raise exception 'the audit table is append-only'; end $$;
create trigger audit_append_only before update or delete or truncate on audit execute function audit_is_append_only();

-- ── the one function that changes a command ──────────────────────────────────

-- Applies lifecycle events to commands whose vehicles' heads the caller has locked: changes what the table
-- allows, writes the events that apps see, raises the heads' seq, and keeps the head's claim equal to the
-- command's flight. `worker` is who claims (null: nobody does). A row for each input, in its order: applied,
-- and the command's status afterwards (null: no such command of this vehicle).
create function command_apply(worker text, vehicles text[], ids uuid[], what text[], reasons json[], results json[], sealed text[], steps jsonb[])
returns table (n bigint, applied boolean, status command_status) language plpgsql as $$
declare
	at constant timestamptz := clock_timestamp();
begin
	if cardinality(vehicles) = 0 then
		return; -- mostly nobody is away, nothing is superseded: the plan below need not be set up for it
	end if;
	return query
	with i as materialized (
		select * from unnest(vehicles, ids, what, reasons, results, sealed, steps)
			with ordinality as i(vehicle_id, id, event, reason, result, sealed_result, step, n)
	), hit as (
		update commands c set
			status = l.to_status,
			flight = l.to_flight,
			attempts = c.attempts + case i.event when 'claim' then 1 when 'release' then -1 when 'disprove' then -1 else 0 end,
			reason = case when l.tells then i.reason else c.reason end,
			result = coalesce(i.result, c.result),
			sealed_result = coalesce(i.sealed_result, c.sealed_result),
			late = c.late or c.status = 'timed_out' and l.to_status in ('succeeded', 'failed', 'rejected'),
			sent_at = coalesce(c.sent_at, case when l.to_status = 'sent' or l.arrives then at end),
			finished_at = case when l.to_status in ('succeeded', 'failed', 'rejected', 'expired', 'canceled') then coalesce(c.finished_at, at) end,
			due_at = case when l.to_status = c.status and l.from_flight = l.to_flight and not l.tells then c.due_at
				else command_due(l.to_status, l.to_flight, at, c.expires_at, coalesce(c.sent_at, at), c.timeout_seconds) end,
			publish_session = case i.event when 'claim' then (select audience(h) from vehicle_heads h where h.vehicle_id = c.vehicle_id) else c.publish_session end,
			timeline = c.timeline || coalesce(i.step, '[]'),
			updated_at = at
		from i, lifecycle_paths l
		where c.vehicle_id = i.vehicle_id and c.id = i.id
			and l.event = i.event and l.from_status = c.status and l.from_flight = c.flight
		returning i.n, c.vehicle_id, c.id, c.status, c.flight, c.attempts, l.tells::integer + l.arrives::integer as tells,
			case when l.arrives then command_json_sent(c) end as sent, case when l.tells then command_json(c) end as data
	), told as (
		insert into events (vehicle_id, seq, at, type, data, fleet_id)
		select hit.vehicle_id, h.seq + row_number() over (partition by hit.vehicle_id order by hit.n, e.k), at, 'command.updated', e.data, v.fleet_id
		from hit join vehicle_heads h on h.vehicle_id = hit.vehicle_id join vehicles v on v.vehicle_id = hit.vehicle_id
			cross join unnest(array[hit.sent, hit.data]) with ordinality as e(data, k)
		where e.data is not null
	), change as (
		select hit.vehicle_id, sum(hit.tells) as told,
			(array_agg(hit.id) filter (where hit.flight in ('claimed', 'claimed_out')))[1] as claimed,
			max(hit.attempts) filter (where hit.flight in ('claimed', 'claimed_out')) as attempt,
			array_agg(hit.id) filter (where hit.flight in ('none', 'out')) as unclaimed
		from hit group by hit.vehicle_id
	), raised as (
		update vehicle_heads h set
			seq = h.seq + ch.told,
			claim_id = case when ch.claimed is not null then ch.claimed when h.claim_id = any(ch.unclaimed) then null else h.claim_id end,
			claim_worker = case when ch.claimed is not null then worker when h.claim_id = any(ch.unclaimed) then null else h.claim_worker end,
			claim_attempt = case when ch.claimed is not null then ch.attempt when h.claim_id = any(ch.unclaimed) then null else h.claim_attempt end,
			claim_session = case when ch.claimed is not null then audience(h) when h.claim_id = any(ch.unclaimed) then null else h.claim_session end
		from change ch
		where h.vehicle_id = ch.vehicle_id and (ch.told > 0 or ch.claimed is not null or h.claim_id = any(ch.unclaimed))
	)
	-- grouped, since as a join it would look through all hits for each input
	select u.n, bool_or(u.hit), coalesce(max(u.status), (select c.status from commands c where c.vehicle_id = u.vehicle_id and c.id = u.id))
	from (select i.n, i.vehicle_id collate "C" as vehicle_id, i.id, false as hit, null::command_status as status from i
		union all select hit.n, hit.vehicle_id, hit.id, true, hit.status from hit) u
	group by u.n, u.vehicle_id, u.id
	order by u.n;
end $$;

-- One timeline item, as an array, so that items concatenate.
create function step(what text, detail jsonb default '{}', at timestamptz default clock_timestamp()) returns jsonb language sql stable as
$$ select jsonb_build_array(jsonb_build_object('time', rfc3339(at), 'step', what, 'detail', detail)) $$;

-- Writes one event of a vehicle whose head the caller has locked, and raises its seq.
create function event_add(vehicle text, kind text, body json) returns bigint language plpgsql as $$
declare
	raised bigint;
begin
	update vehicle_heads h set seq = h.seq + 1 where h.vehicle_id = vehicle returning h.seq into raised;
	insert into events (vehicle_id, seq, at, type, data, fleet_id)
	values (vehicle, raised, clock_timestamp(), kind, body, (select v.fleet_id from vehicles v where v.vehicle_id = vehicle));
	return raised;
end $$;

-- ── partitions ───────────────────────────────────────────────────────────────

-- Makes the partitions that are needed now and in the next days: commands by month, events by week. Few of them, since each
-- statement pays for every partition that there is. Run at --migrate and hourly by a node.
create function partitions_ensure() returns void language plpgsql security definer as $$
declare
	p record;
begin
	if not pg_try_advisory_xact_lock(hashtext('keyfob partitions')) then
		return;
	end if;
	for p in
		select kind, kind || '_' || to_char(at, 'YYYYMMDD') as name, at at time zone 'UTC' as begins, (at + step) at time zone 'UTC' as ends
		from (values ('commands', 'month', interval '1 month', interval '8 days'), ('events', 'week', interval '1 week', interval '1 day')) as k(kind, unit, step, back)
		cross join lateral generate_series(date_trunc(unit, (now() - back) at time zone 'UTC'), (now() + interval '5 days') at time zone 'UTC', step) as at
	loop
		if to_regclass(p.name) is not null then
			continue;
		end if;
		if p.kind = 'commands' then
			execute format('create table %I partition of commands for values from (%L) to (%L) with (fillfactor = 70)',
				p.name, uuid7_floor(p.begins), uuid7_floor(p.ends));
		else
			execute format('create table %I partition of events for values from (%L) to (%L)', p.name, p.begins, p.ends);
		end if;
	end loop;
end $$;
select partitions_ensure();
