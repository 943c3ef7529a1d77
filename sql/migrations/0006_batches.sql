-- Looking for vehicles, and commands to many of them at once. Read docs/fleets.md beside it.

-- ── search ───────────────────────────────────────────────────────────────────

create index vehicles_tags on vehicles using gin (tags) with (fastupdate = off) where retired_at is null;
create index vehicles_name on vehicles (lower(display_name) collate "C") where retired_at is null;
-- Touched only where a vehicle comes, goes, or becomes restless: every other change of a head stays in its page.
create index heads_reachable on vehicle_heads (reachable, vehicle_id);
create index heads_unstable on vehicle_heads (vehicle_id) where unstable_until is not null;

-- What a filter asks of a vehicle v with its head h, as conditions that begin with "and"; its terms are
-- {"key", "value", "begins": the value is a beginning, "not"}, as gateway/operations/vehicle_filter.c reads them.
create function filter_sql(filter jsonb) returns text language sql stable as $$
	select coalesce(string_agg(format(case when (t->'not')::bool then ' and (%s) is not true' else ' and %s' end, case t->>'key'
		when 'reachability' then case t->>'value' when 'connected' then 'h.reachable' else 'not h.reachable' end
		when 'unstable' then case t->>'value' when 'true' then 'h.unstable_until is not null' else 'h.unstable_until is null' end
		when 'tag' then format('v.tags @> array[%L]', t->>'value')
		when 'name' then format('lower(v.display_name) collate "C" %s lower(%L)', f.operator, t->>'value')
		when 'fleet' then format('v.fleet_id %s %L', f.operator, t->>'value')
		when 'vehicle' then format('v.vehicle_id %s %L', f.operator, t->>'value') end), ''), '')
	from jsonb_array_elements(filter) t cross join lateral (select case when (t->'begins')::bool then '^@' else '=' end as operator) f $$;

-- The tables that a filter's conditions speak of.
create function filter_from(filter jsonb) returns text language sql immutable as
$$ select 'vehicles v' || case when filter @? '$[*] ? (@.key == "reachability" || @.key == "unstable")'
	then ' join vehicle_heads h on h.vehicle_id = v.vehicle_id' else '' end $$;

-- A statement that finds the next vehicles of a filter that a subject may see: by way of the grants, so that it costs the same
-- however many others there are. Its text is made of the terms at hand, since one plan for all filters would suit none.
create function search_sql(who text, is_admin boolean, filter jsonb, after text, most integer) returns text language sql stable as $$
	select case when is_admin then
		format('select v.vehicle_id from %s where v.retired_at is null and v.vehicle_id > %L%s order by v.vehicle_id limit %s', f.tables, after, f.terms, most)
	else
		format('select vehicle_id from ((select v.vehicle_id from grants g join %1$s on v.vehicle_id = g.object_id '
			'where g.subject = %2$L and g.object_kind = ''vehicle'' and (g.expires_at is null or g.expires_at > now()) '
			'and v.retired_at is null and g.object_id > %3$L%4$s order by v.vehicle_id limit %5$s) '
			'union select f.vehicle_id from grants g cross join lateral (select v.vehicle_id from %1$s '
			'where v.fleet_id = g.object_id and v.retired_at is null and v.vehicle_id > %3$L%4$s order by v.vehicle_id limit %5$s) f '
			'where g.subject = %2$L and g.object_kind = ''fleet'' and (g.expires_at is null or g.expires_at > now())) seen '
			'order by vehicle_id limit %5$s', f.tables, who, after, f.terms, most)
	end
	from (select filter_from(filter) as tables, filter_sql(filter) as terms) f $$;

create function vehicles_found(who text, is_admin boolean, filter jsonb, after text, most integer) returns setof text language plpgsql stable as $$
begin
	return query execute search_sql(who, is_admin, filter, after, most);
end $$;

-- ── batches ──────────────────────────────────────────────────────────────────

-- One command to many vehicles of a fleet. Whoever has its lease ('batch/' and its id) makes a command for each target, at
-- the rate, by the way that every command goes; and whatever makes it end takes the lease from them.
create table batches (
	id              uuid primary key,
	fleet_id        text collate "C" not null,
	state           text not null default 'running' check (state in ('running', 'stopped', 'canceled', 'completed')),
	reason          json,                               -- why it was stopped or canceled
	name            text not null,
	params          json,
	ttl_seconds     integer not null,
	timeout_seconds integer not null,
	wake            boolean not null,
	redelivery      text not null,
	supersedes      text not null,                      -- names, comma-separated
	catalog         json not null,
	traceparent     text,
	issued_by       text not null,
	admin           boolean not null,                   -- it needs no grant
	needs           integer not null,                   -- the rank that the catalogue demands
	rate            integer not null,                   -- commands in a second
	max_failures    integer,                            -- so many are borne; null: any number
	total           integer not null,
	settled         jsonb not null default '{}',        -- how many targets are settled, by status
	created_at      timestamptz not null default clock_timestamp(),
	updated_at      timestamptz not null default clock_timestamp(),
	finished_at     timestamptz,
	constraint over_is_finished check ((state = 'running') = (finished_at is null))
);
create index batches_fleet on batches (fleet_id, id);

-- Found once, when the batch begins. Settled: what its command became for good, or 'refused'. A command that timed out is not
-- settled, it may yet be answered.
create table batch_targets (
	batch_id   uuid not null,
	vehicle_id text collate "C" not null,
	fed        boolean not null default false,          -- it had its turn: it has a command, or a refusal
	command_id uuid,
	refusal    text,
	settled    text,
	primary key (batch_id, vehicle_id),
	constraint fed_is_known check (fed = ((command_id is null) <> (refusal is null))),
	constraint settled_was_fed check (fed or settled is null)
);
create index batch_targets_next on batch_targets (batch_id, vehicle_id) where not fed;
create index batch_targets_open on batch_targets (batch_id, vehicle_id) where fed and settled is null;

alter table idempotency add column batch_id uuid; -- the key made a batch, and no command

-- The targets of a batch that are fed and not settled, with what became of them. A command that is gone had timed out, and nobody
-- answered while it was kept. `place` is the target's row: found by anything else, a plan without statistics looks through all of
-- them for each.
create function batch_open(batch uuid) returns table (place tid, status text) language plpgsql stable as $$
begin
	return query
	select t.ctid, case when t.refusal is not null then 'refused' else coalesce(c.status::text, 'timed_out') end
	from batch_targets t left join commands c on c.vehicle_id = t.vehicle_id and c.id = t.command_id
	where t.batch_id = batch and t.fed and t.settled is null;
end $$;

create function counts_add(counts jsonb, more jsonb) returns jsonb language sql immutable as
$$ select counts || coalesce(jsonb_object_agg(m.key, m.value::integer + coalesce((counts->m.key)::integer, 0)), '{}') from jsonb_each(more) m $$;

-- How many targets stand where: what is settled, what is on its way (`open`), and the rest, which had no turn. All of one snapshot,
-- so they add up to the total.
create function batch_counts(b batches, open jsonb) returns jsonb language sql immutable as $$
	select c.counts || jsonb_build_object(case b.state when 'running' then 'pending' else 'skipped' end,
		b.total - (select coalesce(sum(n.value::integer), 0) from jsonb_each(c.counts) n))
	from (select counts_add(b.settled, open) as counts) c $$;

create function batch_failures(counts jsonb) returns integer language sql immutable as
$$ select coalesce(sum(value::integer), 0)::integer from jsonb_each(counts) where key in ('failed', 'rejected', 'expired', 'timed_out', 'refused') $$;

-- A batch as the outside sees it; every count is there.
create function batch_json(b batches) returns json language plpgsql stable as $$
declare
	counts constant jsonb := batch_counts(b, (select coalesce(jsonb_object_agg(o.status, o.many), '{}')
		from (select o.status, count(*)::integer as many from batch_open(b.id) o group by o.status) o));
begin
	return json_build_object('id', b.id, 'fleet_id', b.fleet_id, 'name', b.name, 'params', b.params, 'state', b.state, 'reason', b.reason,
		'issued_by', b.issued_by, 'total', b.total,
		'counts', (select json_object_agg(s.status, coalesce((counts->s.status)::integer, 0) order by s.n)
			from unnest('pending'::text || enum_range(null::command_status)::text[] || array['refused', 'skipped']) with ordinality as s(status, n)),
		'failures', batch_failures(counts), 'max_failures', b.max_failures, 'rate', b.rate,
		'ttl_seconds', b.ttl_seconds, 'timeout_seconds', b.timeout_seconds, 'wake', b.wake,
		'created_at', rfc3339(b.created_at), 'updated_at', rfc3339(b.updated_at), 'finished_at', rfc3339(b.finished_at));
end $$;

-- The targets of a new batch: of the fleet's vehicles those that are named, those of a filter, or all. Raises KF002, with its id, for a
-- vehicle that is not the fleet's, and KF003 for too many.
create function batch_find_targets(batch uuid, fleet text, named text[], filter jsonb, most integer) returns integer language plpgsql as $$
declare
	many integer;
	foreigner constant text := (select min(n.id) from unnest(named) n(id)
		where not exists (select from vehicles v where v.vehicle_id = n.id and v.fleet_id = fleet and v.retired_at is null));
begin
	if foreigner is not null then
		raise exception '%', foreigner using errcode = 'KF002';
	elsif named is not null then
		insert into batch_targets (batch_id, vehicle_id) select distinct batch, n.id from unnest(named) n(id);
	else
		execute format('insert into batch_targets (batch_id, vehicle_id) select %L, v.vehicle_id from %s where v.fleet_id = %L and v.retired_at is null%s limit %s',
			batch, filter_from(filter), fleet, filter_sql(filter), most + 1);
	end if;
	get diagnostics many = row_count;
	if many > most then
		raise exception 'more than % vehicles', most using errcode = 'KF003';
	end if;
	return many;
end $$;

-- The earlier batch of an idempotency key, if it is one of its day; else the key is taken for a new one, and null. Who loses
-- a race waits, and sees the winner's. `reused`: the key was for something else.
create function batch_key(who text, wanted text, print text, new_id uuid, out earlier uuid, out reused boolean) language plpgsql as $$
declare
	k idempotency;
begin
	reused := false;
	insert into idempotency (subject, key, fingerprint, vehicle_id, command_id, batch_id) values (who, wanted, print, '', new_id, new_id)
	on conflict (subject, key) do nothing;
	select * into k from idempotency i where i.subject = who and i.key = wanted for update;
	if k.batch_id = new_id then
		return;
	elsif k.created_at > now() - interval '24 hours'
		and (k.batch_id is not null or exists (select from commands c where c.vehicle_id = k.vehicle_id and c.id = k.command_id)) then
		earlier := k.batch_id;
		reused := k.batch_id is null or k.fingerprint <> print;
		return;
	end if;
	update idempotency i set fingerprint = print, vehicle_id = '', command_id = new_id, batch_id = new_id, created_at = now()
	where i.subject = who and i.key = wanted;
end $$;

-- Begins a batch; `b` is what gateway/operations/batches.c has read of the request and of the catalogue.
create function batch_create(who text, is_admin boolean, new_id uuid, b json, key text, print text, whence text, out outcome text, out body json) language plpgsql as $$
declare
	fleet constant text := b->>'fleet_id';
	rank constant integer := case when not exists (select from fleets f where f.fleet_id = fleet) then 0 when is_admin then 3 else grant_rank(who, null, fleet) end;
	k record;
	made batches;
	targets integer;
begin
	outcome := case when rank = 0 then 'no_fleet' when rank < greatest(2, (b->>'needs')::integer) then 'forbidden' else 'done' end;
	if outcome = 'done' and key is not null then
		select * into k from batch_key(who, key, print, new_id);
		if k.reused or k.earlier is not null then
			outcome := case when k.reused then 'reused' else 'replayed' end;
			body := case when not k.reused then (select batch_json(e) from batches e where e.id = k.earlier) end;
			return;
		end if;
	end if;
	if outcome = 'done' then
		targets := batch_find_targets(new_id, fleet, (select array_agg(v) from json_array_elements_text(b->'vehicles') v), (b->'filter')::jsonb, (b->>'most')::integer);
		insert into batches (id, fleet_id, state, name, params, ttl_seconds, timeout_seconds, wake, redelivery, supersedes, catalog, traceparent,
			issued_by, admin, needs, rate, max_failures, total, finished_at)
		values (new_id, fleet, case when targets = 0 then 'completed' else 'running' end, b->>'name', b->'params', (b->>'ttl_seconds')::integer,
			(b->>'timeout_seconds')::integer, (b->>'wake')::boolean, b->>'redelivery', b->>'supersedes', b->'catalog', b->>'traceparent',
			who, is_admin, (b->>'needs')::integer, (b->>'rate')::integer,
			coalesce((b->>'max_failures')::integer, targets * (b->>'max_failures_percent')::integer / 100),
			targets, case when targets = 0 then clock_timestamp() end)
		returning * into made;
		insert into leases (name) select 'batch/' || new_id where targets > 0;
		body := batch_json(made);
	end if;
	insert into audit (who, action, object, allowed, detail)
	values (actor(who, whence), 'batch.create', 'fleet/' || fleet, outcome = 'done', json_build_object('id', new_id, 'name', b->'name', 'total', made.total));
end $$;

-- Settles the targets that have come to their end, and says what the batch is to become, if anything.
create function batch_settle(batch uuid, out becomes text, out failures integer, out newly integer) language plpgsql as $$
declare
	b batches;
	over jsonb;
	open jsonb;
	counts jsonb;
begin
	select * into b from batches where id = batch for update;
	with seen as materialized (
		select o.place, o.status, o.status in ('refused', 'succeeded', 'failed', 'rejected', 'expired', 'canceled') as is_over from batch_open(batch) o
	), marked as (
		update batch_targets t set settled = s.status from seen s where t.ctid = s.place and s.is_over
	)
	select coalesce(jsonb_object_agg(s.status, s.many) filter (where s.is_over), '{}'),
		coalesce(jsonb_object_agg(s.status, s.many) filter (where not s.is_over), '{}'), coalesce(sum(s.many) filter (where s.is_over), 0)
	into over, open, newly from (select s.status, s.is_over, count(*)::integer as many from seen s group by s.status, s.is_over) s;
	if newly > 0 then
		update batches set settled = counts_add(b.settled, over), updated_at = clock_timestamp() where id = batch returning * into b;
	end if;
	counts := batch_counts(b, open);
	failures := batch_failures(counts);
	becomes := case
		when b.state <> 'running' then null
		when not exists (select from jsonb_each(counts) n where n.key in ('pending', 'accepted', 'waiting', 'sent', 'in_progress') and n.value <> '0') then 'completed'
		when failures > b.max_failures then 'stopped' end;
end $$;

-- Ends a running batch: nobody who had its lease makes a further command of it. Where commands may be left to take back, the
-- lease is there for the next one.
create function batch_end(batch uuid, ending text, why json) returns boolean language plpgsql as $$
begin
	perform from leases l where l.name = 'batch/' || batch for update;
	update batches set state = ending, reason = why, updated_at = clock_timestamp(), finished_at = clock_timestamp() where id = batch and state = 'running';
	if not found then
		return false;
	elsif ending = 'completed' then
		delete from leases l where l.name = 'batch/' || batch;
	else
		update leases l set holder = null, expires_at = null, epoch = l.epoch + 1 where l.name = 'batch/' || batch;
	end if;
	return true;
end $$;

create function batch_cancel(who text, is_admin boolean, batch uuid, whence text, out outcome text, out body json) language plpgsql as $$
declare
	b batches;
	rank integer := 0;
begin
	select * into b from batches where id = batch;
	if found then
		rank := case when is_admin then 3 else grant_rank(who, null, b.fleet_id) end;
	end if;
	outcome := case when rank = 0 then 'no_batch' when rank < 2 then 'forbidden' else 'done' end;
	if outcome = 'done' then
		perform batch_end(batch, 'canceled', json_build_object('code', 'CANCELED', 'by', who));
		select * into b from batches where id = batch;
		outcome := case b.state when 'canceled' then 'done' else 'over' end;
		body := batch_json(b);
	end if;
	insert into audit (who, action, object, allowed, detail)
	values (actor(who, whence), 'batch.cancel', 'fleet/' || b.fleet_id, rank >= 2, json_build_object('id', batch));
end $$;
