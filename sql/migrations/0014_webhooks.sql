-- Webhooks: events of the log, sent to a platform's own server. Read docs/webhooks.md beside it.

-- A UUIDv7 of a moment, its microseconds in place of the first random bits (RFC 9562 §6.2, method 3).
create function uuid7(at timestamptz) returns uuid language sql volatile as $$
	select (lpad(to_hex(us / 1000), 12, '0') || '7' || lpad(to_hex(us % 1000 * 4), 3, '0') || substr(replace(gen_random_uuid()::text, '-', ''), 17))::uuid
	from (select (extract(epoch from at) * 1000000)::bigint as us) t $$;

-- ── what somebody wants to hear, and where ───────────────────────────────────

-- A webhook belongs to its subject, and hears what its subject may see at that moment.
create table webhooks (
	id               uuid primary key,
	subject          text not null,
	is_admin         boolean not null,              -- its subject made it with the scope keyfob:admin: it needs no grant
	url              text not null,
	description      text not null default '',
	types            text[] not null default '{}',  -- none: all
	secret           text not null,
	old_secret       text,                          -- signs besides until then
	old_secret_until timestamptz,
	enabled_at       timestamptz not null default clock_timestamp(), -- hears what happened since
	disabled_at      timestamptz,
	disabled_reason  text check (disabled_reason in ('paused', 'gone', 'exhausted')),
	held_until       timestamptz,                   -- its server asked not to be called before
	created_at       timestamptz not null default clock_timestamp(),
	updated_at       timestamptz not null default clock_timestamp(),
	constraint disabled_has_reason check ((disabled_at is null) = (disabled_reason is null)),
	constraint old_secret_ends check ((old_secret is null) = (old_secret_until is null))
);
create index webhooks_subject on webhooks (subject, id);

create table webhook_targets (
	webhook_id uuid not null references webhooks on delete cascade,
	kind       text not null check (kind in ('vehicle', 'fleet')), -- fleet '*': all vehicles
	key        text collate "C" not null,
	primary key (kind, key, webhook_id)
);
create index webhook_targets_webhook on webhook_targets (webhook_id);

-- ── what is to be sent ───────────────────────────────────────────────────────

-- One event for one webhook; what is sent stays in events. Its id is the same in every attempt.
create table webhook_deliveries (
	id               uuid primary key,
	webhook_id       uuid not null,
	vehicle_id       text collate "C" not null,
	seq              bigint not null,
	at               timestamptz not null,          -- the event's
	type             text not null,
	status           text not null default 'pending' check (status in ('pending', 'delivered', 'failed', 'dropped')),
	attempts         integer not null default 0,
	first_attempt_at timestamptz,
	last_attempt_at  timestamptz,
	next_attempt_at  timestamptz,                   -- null: nothing failed yet, or it is over
	response_status  integer,                       -- of the last attempt; null: there was no answer
	error            text,                          -- why the last attempt was none, or why it was dropped
	finished_at      timestamptz,
	constraint over_is_finished check ((status = 'pending') = (finished_at is null))
);
create index webhook_deliveries_newest on webhook_deliveries (webhook_id, id);
create index webhook_deliveries_pending on webhook_deliveries (webhook_id, vehicle_id, seq) where status = 'pending';

-- What waits of a vehicle for a webhook stands in a line: whoever takes the line sends what is first in it, and nobody else anything
-- of it meanwhile. So what fails holds up its own vehicle alone. Lines are locked in the order of their key, then webhooks in that of
-- theirs, then deliveries.
create table webhook_lines (
	webhook_id uuid not null,
	vehicle_id text collate "C" not null,
	due_at     timestamptz,                         -- null: nothing waits. Of one that is taken: when it counts as abandoned
	taken      boolean not null default false,      -- something of it is being sent
	claim      bigint not null default 0,           -- rises with every taking, and with every end of one
	primary key (webhook_id, vehicle_id)
) with (fillfactor = 70);
create index webhook_lines_due on webhook_lines (webhook_id, due_at) where due_at is not null;

-- How far the log was looked through: every event that is visible in `seen` had its deliveries made.
create table webhook_position (
	only_row boolean primary key default true check (only_row),
	system   bigint not null,                       -- of which cluster the transactions are (pg_control_system)
	seen     pg_snapshot not null,
	since    timestamptz not null,                  -- what is not visible in `seen` did not happen before
	mark     xid8 not null,                         -- whatever has not begun to write by `mark_at` is this transaction or a later one
	mark_at  timestamptz not null,
	-- a look that was too much for one transaction: what is visible in `until` and happened from `upto` on is left
	until    pg_snapshot,
	until_at timestamptz,
	upto     timestamptz,
	check ((until is null) = (until_at is null) and (until is null) = (upto is null))
);
insert into webhook_position (system, seen, since, mark, mark_at)
select system_identifier, pg_current_snapshot(), now(), pg_snapshot_xmax(pg_current_snapshot()), now() from pg_control_system();

-- ── what a webhook hears ─────────────────────────────────────────────────────

-- By which of its targets it may hear an event now: 'whole', or 'left' where all that it may know is that the vehicle left its
-- fleet. Null: by none. A vehicle is heard by the grants on it and on its fleet, a fleet by those on the fleet.
create function webhook_hears(w webhooks, e events) returns text language plpgsql stable as $$
declare
	t record;
	rank integer := 0;
	hears text;
begin
	for t in
		select g.kind, case g.kind when 'vehicle' then v.fleet_id else g.key end as fleet_id, case g.kind when 'vehicle' then e.vehicle_id end as vehicle_id
		from webhook_targets g left join vehicles v on v.vehicle_id = e.vehicle_id and v.retired_at is null
		where g.webhook_id = w.id and (g.kind = 'vehicle' and g.key = e.vehicle_id and v.vehicle_id is not null
			or g.kind = 'fleet' and g.key in (e.fleet_id, e.left_fleet, '*'))
	loop
		if w.is_admin or e.at >= grant_since(w.subject, t.vehicle_id, t.fleet_id) then
			rank := greatest(rank, case when w.is_admin then 3 else grant_rank(w.subject, t.vehicle_id, t.fleet_id) end);
			hears := case when t.kind = 'fleet' and t.fleet_id <> '*' and t.fleet_id is distinct from e.fleet_id then coalesce(hears, 'left') else 'whole' end;
		end if;
	end loop;
	-- the same as notifier/give.c has it
	if rank < 3 and (e.type = 'security.alert' or e.type in ('access.changed', 'webhook.disabled') and e.data->>'subject' is distinct from w.subject) then
		return null;
	end if;
	return hears;
end $$;

-- CloudEvents 1.0, structured mode (§3.2 of its JSON format). `id` is what an event stream calls the event.
create function webhook_body(e events, epoch text, hears text) returns text language sql stable as $$
	select format('{"specversion":"1.0","id":%s,"source":%s,"type":%s,"subject":%s,"time":%s,"datacontenttype":"application/json",%s"seq":%s,"data":%s}',
		to_json(epoch || ':' || e.seq), to_json('/v1/vehicles/' || e.vehicle_id), to_json(e.type), to_json(e.vehicle_id), to_json(rfc3339(e.at)),
		case when hears = 'whole' and e.fleet_id is not null then '"fleetid":' || to_json(e.fleet_id) || ',' else '' end, e.seq,
		case hears when 'whole' then e.data::text else '{"fleet_id":null}' end) $$;

-- Makes the deliveries of the events that have come, at most about `most`, by one node at a time: how many, or null where there is
-- no webhook. What a transaction under way will bring is not visible yet and is found when it is, however long that takes; the
-- times only say where to look.
create function webhooks_follow(most integer) returns bigint language plpgsql set enable_seqscan = off as $$
declare
	p webhook_position;
	wanted_since constant timestamptz := (select min(w.enabled_at) from webhooks w where w.disabled_at is null);
	here constant bigint := (select system_identifier from pg_control_system());
	began constant timestamptz := clock_timestamp();
	till timestamptz;
	made bigint;
	told bigint := 0;
begin
	if wanted_since is null then
		return null;
	end if;
	if not pg_try_advisory_xact_lock(hashtext('keyfob webhooks')) then
		return 0;
	end if;
	select * into p from webhook_position;
	if p.system <> here then -- restored into another cluster, whose transactions begin anew
		update webhook_position set system = here, seen = pg_current_snapshot(), since = clock_timestamp(),
			mark = pg_snapshot_xmax(pg_current_snapshot()), mark_at = clock_timestamp(), until = null, until_at = null, upto = null;
		return 0;
	end if;
	if p.until is null then
		p.until_at := clock_timestamp(); -- before the snapshot: who begins to write between the two is later than its xmax
		p.until := pg_current_snapshot();
		p.upto := p.since - interval '2 seconds'; -- clocks are set
	end if;
	p.upto := greatest(p.upto, wanted_since);
	loop
		till := case when p.upto + interval '10 seconds' < p.until_at then p.upto + interval '10 seconds' else 'infinity' end;
		with heard as (
			insert into webhook_deliveries (id, webhook_id, vehicle_id, seq, at, type)
			select uuid7(e.at), w.id, e.vehicle_id, e.seq, e.at, e.type
			from events e
			cross join lateral (select distinct t.webhook_id from webhook_targets t
				where t.kind = 'vehicle' and t.key = e.vehicle_id or t.kind = 'fleet' and t.key in (e.fleet_id, e.left_fleet, '*')) t
			join webhooks w on w.id = t.webhook_id
			where e.at >= p.upto and e.at < till and e.xid >= pg_snapshot_xmin(p.seen)
				and pg_visible_in_snapshot(e.xid, p.until) and not pg_visible_in_snapshot(e.xid, p.seen)
				and w.disabled_at is null and e.at >= w.enabled_at and (w.types = '{}' or e.type = any(w.types))
				and webhook_hears(w, e) is not null
			returning webhook_id, vehicle_id
		), lines as (
			insert into webhook_lines as l (webhook_id, vehicle_id, due_at)
			select h.webhook_id, h.vehicle_id, clock_timestamp() from heard h group by 1, 2 order by 1, 2
			on conflict (webhook_id, vehicle_id) do update set due_at = excluded.due_at where l.due_at is null
		)
		select count(*) into made from heard;
		told := told + made;
		p.upto := till;
		exit when till = 'infinity' or told >= most or clock_timestamp() > began + interval '1 second';
	end loop;
	if p.upto < 'infinity' then
		update webhook_position set until = p.until, until_at = p.until_at, upto = p.upto;
	elsif told > 0 or p.mark_at < clock_timestamp() - interval '2 seconds' then
		if pg_snapshot_xmin(p.until) >= p.mark then -- all is over that had begun to write by then
			p.since := p.mark_at;
			p.mark := pg_snapshot_xmax(p.until);
			p.mark_at := p.until_at;
		end if;
		update webhook_position set seen = p.until, since = p.since, mark = p.mark, mark_at = p.mark_at, until = null, until_at = null, upto = null;
	end if;
	return told;
end $$;

-- ── sending ──────────────────────────────────────────────────────────────────

-- Takes lines that are due, for `hold`: at most `most`, and of a webhook `each` with those that the caller has in hand already
-- (`busy`: the webhook of each). What is first in each, with all that an attempt needs; `verdict`: 'send', or why it is to be dropped.
create function webhooks_take(most integer, each integer, busy uuid[], hold interval, synchronous boolean)
returns table (webhook_id uuid, vehicle_id text, claim bigint, id uuid, attempt integer, url text, secret text, old_secret text, verdict text, body text)
language plpgsql as $$
declare
	webhook_ids uuid[];
	vehicle_ids text[];
	epoch constant text := history_epoch(synchronous);
begin
	with due as materialized (
		select l.webhook_id, l.vehicle_id
		from (select w.id, coalesce(b.n, 0) as n
			from webhooks w left join (select b.id, count(*) as n from unnest(busy) as b(id) group by b.id) b on b.id = w.id
			where w.disabled_at is null and coalesce(w.held_until <= clock_timestamp(), true) order by 2) w
		cross join lateral (select l.webhook_id, l.vehicle_id from webhook_lines l where l.webhook_id = w.id and l.due_at <= clock_timestamp()
			order by l.due_at limit greatest(each - w.n, 0) for update skip locked) l
		limit most
	), taken as (
		update webhook_lines l set due_at = clock_timestamp() + hold, taken = true, claim = l.claim + 1
		from due d where l.webhook_id = d.webhook_id and l.vehicle_id = d.vehicle_id returning l.webhook_id, l.vehicle_id
	)
	select array_agg(t.webhook_id), array_agg(t.vehicle_id) into webhook_ids, vehicle_ids from taken t;
	return query
	select l.webhook_id, l.vehicle_id, l.claim, d.id, d.attempts + 1, w.url, w.secret, case when w.old_secret_until > clock_timestamp() then w.old_secret end,
		case when e.seq is null then 'expired' when h.hears is null then 'access' else 'send' end,
		case when h.hears is not null then webhook_body(e, epoch, h.hears) end
	from unnest(webhook_ids, vehicle_ids) as t(webhook_id, vehicle_id)
	join webhook_lines l on l.webhook_id = t.webhook_id and l.vehicle_id = t.vehicle_id
	join webhooks w on w.id = t.webhook_id
	cross join lateral (select * from webhook_deliveries d where d.webhook_id = t.webhook_id and d.vehicle_id = t.vehicle_id and d.status = 'pending'
		order by d.seq limit 1) d
	left join events e on e.vehicle_id = d.vehicle_id and e.seq = d.seq and e.at = d.at
	left join lateral (select webhook_hears(w, e) as hears) h on e.seq is not null;
	-- what was in them was swept away
	update webhook_lines l set due_at = null, taken = false from unnest(webhook_ids, vehicle_ids) as t(webhook_id, vehicle_id)
	where l.webhook_id = t.webhook_id and l.vehicle_id = t.vehicle_id and not exists (select from webhook_deliveries d
		where d.webhook_id = t.webhook_id and d.vehicle_id = t.vehicle_id and d.status = 'pending');
end $$;

-- The pause after an attempt that failed: it trebles from the first to the longest, a fifth more or less.
create function webhook_pause(attempts integer, first interval, longest interval) returns interval language sql volatile as
$$ select least(first * power(3, least(attempts, 20) - 1), longest) * (0.8 + 0.4 * random()) $$;

-- Records what became of deliveries that were taken. `whats`: 'delivered', 'failed', 'gone' (410: the webhook is to end), 'dropped', or
-- 'released': there was no attempt. `codes`: of the answer; `errors`: why there was none; `waits_ms`: how long the server asked to be
-- left alone, by the code the whole of it or this vehicle's line. A row for each webhook that was disabled by it.
create function webhooks_settle(webhook_ids uuid[], vehicle_ids text[], claims bigint[], delivery_ids uuid[], whats text[], codes integer[], errors text[],
	waits_ms bigint[], first interval, longest interval, schedule interval)
returns table (webhook_id uuid, subject text, vehicle_id text, reason text) language plpgsql as $$
declare
	now_at constant timestamptz := clock_timestamp();
begin
	perform from webhook_lines l join unnest(webhook_ids, vehicle_ids) as i(webhook_id, vehicle_id) on i.webhook_id = l.webhook_id and i.vehicle_id = l.vehicle_id
		order by l.webhook_id, l.vehicle_id for update of l;
	if whats && '{failed, gone}' then
		perform from webhooks w where w.id = any(webhook_ids) order by w.id for no key update;
	end if;
	return query
	with i as materialized (
		select i.*, d.attempts + (i.what <> 'released' and i.what <> 'dropped')::integer as tries, coalesce(d.first_attempt_at, now_at) as first_at,
			case when i.what = 'failed' and coalesce(d.first_attempt_at, now_at) + schedule <= now_at then 'exhausted' else i.what end as became
		from unnest(webhook_ids, vehicle_ids, claims, delivery_ids, whats, codes, errors, waits_ms) as i(webhook_id, vehicle_id, claim, id, what, code, error, wait_ms)
		join webhook_lines l on l.webhook_id = i.webhook_id and l.vehicle_id = i.vehicle_id and l.claim = i.claim
		join webhook_deliveries d on d.id = i.id and d.status = 'pending'
	), next as materialized (
		select i.*, case when i.became = 'failed' then greatest(least(now_at + webhook_pause(i.tries, first, longest), i.first_at + schedule),
			now_at + i.wait_ms * interval '1 millisecond') end as again_at from i
	), settled as (
		update webhook_deliveries d set
			status = case n.became when 'delivered' then 'delivered' when 'dropped' then 'dropped' when 'exhausted' then 'failed' when 'gone' then 'failed' else 'pending' end,
			attempts = n.tries,
			first_attempt_at = case when n.tries > d.attempts then n.first_at else d.first_attempt_at end,
			last_attempt_at = case when n.tries > d.attempts then now_at else d.last_attempt_at end,
			next_attempt_at = case when n.became = 'released' then d.next_attempt_at else n.again_at end,
			response_status = case when n.became = 'released' then d.response_status else n.code end,
			error = case when n.became = 'released' then d.error else n.error end,
			finished_at = case when n.became not in ('failed', 'released') then now_at end
		from next n where d.id = n.id
	), moved as (
		update webhook_lines l set taken = false, claim = l.claim + 1,
			due_at = case when n.became = 'failed' then n.again_at
				when n.became = 'released' or exists (select from webhook_deliveries d where d.webhook_id = l.webhook_id and d.vehicle_id = l.vehicle_id
					and d.status = 'pending' and d.id <> n.id) then now_at end
		from next n where l.webhook_id = n.webhook_id and l.vehicle_id = n.vehicle_id
	), ended as (
		update webhooks w set disabled_at = now_at, disabled_reason = n.reason, updated_at = now_at
		from (select n.webhook_id, min(n.became) as reason from next n where n.became in ('gone', 'exhausted') group by 1) n
		where w.id = n.webhook_id and w.disabled_at is null
		returning w.id, w.subject, w.disabled_reason
	), held as ( -- 429 and 503 speak of the server, not of the one request (RFC 6585 §4, RFC 9110 §15.6.4)
		update webhooks w set held_until = greatest(w.held_until, n.until)
		from (select n.webhook_id, max(n.again_at) as until from next n where n.became = 'failed' and n.wait_ms > 0 and n.code in (429, 503) group by 1) n
		where w.id = n.webhook_id and not exists (select from ended e where e.id = n.webhook_id)
	)
	select e.id, e.subject, (select min(n.vehicle_id) from next n where n.webhook_id = e.id and n.became in ('gone', 'exhausted')), e.disabled_reason
	from ended e;
	if not found then
		perform set_config('synchronous_commit', 'off', true); -- what is lost of it is sent once more
	end if;
end $$;

-- Retention: deliveries by their age, and what is left of webhooks that are no more. A part at a time.
create function webhooks_sweep(kept interval) returns void language plpgsql as $$
begin
	delete from webhook_deliveries where id in (select d.id from webhook_deliveries d where d.id < (select uuid7_floor(now() - kept)) limit 20000 for update skip locked);
	delete from webhook_deliveries where id in (select d.id from webhook_deliveries d
		join (select distinct l.webhook_id from webhook_lines l where not exists (select from webhooks w where w.id = l.webhook_id)) g on g.webhook_id = d.webhook_id
		limit 20000 for update of d skip locked);
	delete from webhook_lines where (webhook_id, vehicle_id) in (select l.webhook_id, l.vehicle_id from webhook_lines l
		where not exists (select from webhooks w where w.id = l.webhook_id) and not exists (select from webhook_deliveries d where d.webhook_id = l.webhook_id)
		limit 20000 for update skip locked);
end $$;

-- ── what callers ask ─────────────────────────────────────────────────────────

create function webhook_json(w webhooks) returns json language sql stable as $$
	select json_build_object('id', w.id, 'subject', w.subject, 'url', w.url, 'description', w.description,
		'vehicle_ids', (select coalesce(json_agg(t.key order by t.key), '[]') from webhook_targets t where t.webhook_id = w.id and t.kind = 'vehicle'),
		'fleet_ids', (select coalesce(json_agg(t.key order by t.key), '[]') from webhook_targets t where t.webhook_id = w.id and t.kind = 'fleet'),
		'types', to_json(w.types), 'enabled', w.disabled_at is null, 'disabled_at', rfc3339(w.disabled_at), 'disabled_reason', w.disabled_reason,
		'held_until', rfc3339(case when w.held_until > clock_timestamp() then w.held_until end),
		'old_secret_until', rfc3339(case when w.old_secret_until > clock_timestamp() then w.old_secret_until end),
		'created_at', rfc3339(w.created_at), 'updated_at', rfc3339(w.updated_at)) $$;
-- The one time that its secret is shown.
create function webhook_json_secret(w webhooks) returns json language sql stable as
$$ select (webhook_json(w)::jsonb || jsonb_build_object('secret', w.secret))::json $$;

create function webhook_delivery_json(d webhook_deliveries) returns json language sql stable as $$
	select json_build_object('id', d.id, 'webhook_id', d.webhook_id, 'vehicle_id', d.vehicle_id, 'seq', d.seq, 'type', d.type, 'event_time', rfc3339(d.at),
		'status', d.status, 'attempts', d.attempts, 'response_status', d.response_status, 'error', d.error,
		'last_attempt_at', rfc3339(d.last_attempt_at), 'next_attempt_at', rfc3339(d.next_attempt_at), 'finished_at', rfc3339(d.finished_at)) $$;

-- Makes a webhook's targets those of `b`. 'done', or what its subject may not see.
create function webhook_aim(w webhooks, b json) returns text language plpgsql as $$
begin
	delete from webhook_targets t where t.webhook_id = w.id;
	insert into webhook_targets (webhook_id, kind, key)
	select distinct w.id, 'vehicle', k from json_array_elements_text(b->'vehicle_ids') k
	union all select distinct w.id, 'fleet', k from json_array_elements_text(b->'fleet_ids') k;
	return case
		when exists (select from webhook_targets t left join vehicles v on v.vehicle_id = t.key and v.retired_at is null
			where t.webhook_id = w.id and t.kind = 'vehicle' and (v.vehicle_id is null or not w.is_admin and grant_rank(w.subject, v.vehicle_id, v.fleet_id) = 0)) then 'no_vehicle'
		when exists (select from webhook_targets t where t.webhook_id = w.id and t.kind = 'fleet' and t.key = '*' and not w.is_admin) then 'forbidden'
		when exists (select from webhook_targets t left join fleets f on f.fleet_id = t.key
			where t.webhook_id = w.id and t.kind = 'fleet' and t.key <> '*' and (f.fleet_id is null or not w.is_admin and grant_rank(w.subject, null, f.fleet_id) = 0)) then 'no_fleet'
		else 'done' end;
end $$;

-- Makes one, or changes it (`id` of one that there is, a whole new body); `b` is what gateway/operations/webhooks.c has read. `fresh`: the
-- secret of a new one. A webhook that is none of the caller's does not exist. One that is enabled again hears what happens from then
-- on, and what had not arrived before goes out anew.
create function webhook_put(who text, admin boolean, wanted uuid, is_new boolean, b json, fresh text, most integer, whence text, out outcome text, out body json) language plpgsql as $$
declare
	w webhooks;
	enables boolean;
	waiting text[];
begin
	outcome := 'done';
	begin
		if is_new then
			if (select count(*) from webhooks o where o.subject = who) >= most then
				raise exception 'too_many' using errcode = 'KF004';
			end if;
			insert into webhooks (id, subject, is_admin, url, secret) values (wanted, who, admin, b->>'url', fresh) returning * into w;
		else
			-- before the webhook's row, as everybody
			select array_agg(x.vehicle_id) into waiting from (
				select l.vehicle_id from webhook_lines l where l.due_at is not null
					and l.webhook_id = (select o.id from webhooks o where o.id = wanted and (admin or o.subject = who))
				order by l.vehicle_id for update) x;
			select * into w from webhooks o where o.id = wanted and (admin or o.subject = who) for update;
			if not found then
				raise exception 'no_webhook' using errcode = 'KF004';
			end if;
		end if;
		enables := coalesce((b->>'enabled')::boolean, true);
		update webhooks o set
			is_admin = case when o.subject = who then admin else o.is_admin end,
			url = b->>'url', description = coalesce(b->>'description', ''),
			types = array(select distinct k from json_array_elements_text(b->'types') k order by 1),
			enabled_at = case when enables and o.disabled_at is not null then clock_timestamp() else o.enabled_at end,
			disabled_at = case when not enables then coalesce(o.disabled_at, clock_timestamp()) end,
			disabled_reason = case when not enables then coalesce(o.disabled_reason, 'paused') end,
			held_until = case when o.disabled_at is null then o.held_until end,
			updated_at = clock_timestamp()
		where o.id = wanted returning * into w;
		outcome := webhook_aim(w, b);
		if outcome <> 'done' then
			raise exception '%', outcome using errcode = 'KF004';
		end if;
		if enables and not is_new then
			perform webhook_resume(w.id, waiting);
		end if;
		body := case when is_new then webhook_json_secret(w) else webhook_json(w) end;
	exception when sqlstate 'KF004' then
		outcome := sqlerrm;
	end;
	insert into audit (who, action, object, allowed, detail)
	values (actor(who, whence), case when is_new then 'webhook.create' else 'webhook.put' end, 'webhook/' || wanted, outcome = 'done',
		(b::jsonb - 'id' - 'url' - 'description')::json); -- a URL may have a secret in it
end $$;

-- The attempts of what waits in lines that the caller has locked begin anew.
create function webhook_resume(webhook uuid, vehicles text[]) returns void language plpgsql as $$
begin
	update webhook_deliveries d set attempts = 0, first_attempt_at = null, next_attempt_at = null
	where d.webhook_id = webhook and d.vehicle_id = any(vehicles) and d.status = 'pending' and d.attempts > 0;
	update webhook_lines l set due_at = clock_timestamp() where l.webhook_id = webhook and l.vehicle_id = any(vehicles) and not l.taken;
end $$;

create function webhook_delete(who text, admin boolean, wanted uuid, whence text, out outcome text, out body json) language plpgsql as $$
begin
	delete from webhooks o where o.id = wanted and (admin or o.subject = who);
	outcome := case when found then 'done' else 'no_webhook' end;
	insert into audit (who, action, object, allowed) values (actor(who, whence), 'webhook.delete', 'webhook/' || wanted, outcome = 'done');
end $$;

-- A fresh secret; the one before signs besides until `overlap` is over, and the one before that no more.
create function webhook_rotate(who text, admin boolean, wanted uuid, fresh text, overlap interval, whence text, out outcome text, out body json) language plpgsql as $$
declare
	w webhooks;
begin
	update webhooks o set secret = fresh, old_secret = case when overlap > '0' then o.secret end,
		old_secret_until = case when overlap > '0' then clock_timestamp() + overlap end, updated_at = clock_timestamp()
	where o.id = wanted and (admin or o.subject = who and not o.is_admin) returning * into w;
	outcome := case when found then 'done' else 'no_webhook' end;
	body := case outcome when 'done' then webhook_json_secret(w) end;
	insert into audit (who, action, object, allowed) values (actor(who, whence), 'webhook.rotate', 'webhook/' || wanted, outcome = 'done');
end $$;

-- Sends it once more, before what waits of its vehicle, if its webhook is enabled; else when it is.
create function webhook_redeliver(who text, admin boolean, webhook uuid, delivery uuid, whence text, out outcome text, out body json) language plpgsql as $$
declare
	d webhook_deliveries;
begin
	if not exists (select from webhooks o where o.id = webhook and (admin or o.subject = who and not o.is_admin)) then
		outcome := 'no_webhook';
	else
		select * into d from webhook_deliveries o where o.id = delivery and o.webhook_id = webhook;
		outcome := case when found then 'done' else 'no_delivery' end;
	end if;
	if outcome = 'done' then
		insert into webhook_lines as l (webhook_id, vehicle_id, due_at) values (webhook, d.vehicle_id, clock_timestamp())
		on conflict (webhook_id, vehicle_id) do update set due_at = case when l.taken then l.due_at else excluded.due_at end;
		update webhook_deliveries o set status = 'pending', attempts = 0, first_attempt_at = null, next_attempt_at = null, finished_at = null
		where o.id = delivery returning * into d;
		body := webhook_delivery_json(d);
	end if;
	insert into audit (who, action, object, allowed, detail)
	values (actor(who, whence), 'webhook.redeliver', 'webhook/' || webhook, outcome = 'done', json_build_object('delivery_id', delivery));
end $$;
