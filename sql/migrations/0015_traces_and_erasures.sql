-- Traces: what W3C Trace Context says of a command is kept with it and shown, and journeys that are over are found for export
-- (docs/observability.md). And who is erased is named by no command any more (docs/access.md).

alter table commands add column tracestate text;
-- Up to when journeys were looked for.
alter table meta add column traces_until timestamptz not null default clock_timestamp();

-- What shows only when it is there. In PL/pgSQL, since what uses a costly argument twice is not written out in place.
create function json_with_rest(plain json, params text, result text, traceparent text) returns json language plpgsql immutable parallel safe as $$
begin
	if params is null and result is null and traceparent is null then
		return plain;
	end if;
	return (left(plain::text, -1) || coalesce(', "sealed_params" : ' || to_json(params), '')
		|| coalesce(', "sealed_result" : ' || to_json(result), '') || coalesce(', "traceparent" : ' || to_json(traceparent), '') || '}')::json;
end $$;
create or replace function command_json(c commands) returns json language sql stable as $$
	select json_with_rest(command_json_plain(c, c.status, c.attempts,
		c.flight <> 'none' and c.status in ('accepted', 'waiting', 'sent', 'in_progress', 'timed_out'),
		c.reason, c.result, c.late, c.sent_at, c.finished_at), c.sealed_params, c.sealed_result, c.traceparent) $$;
create or replace function command_json_accepted(c commands) returns json language sql stable as $$
	select json_with_rest(command_json_plain(c, 'accepted', 0, false, null, null, false, null, null), c.sealed_params, null, c.traceparent) $$;
create or replace function command_json_sent(c commands) returns json language sql stable as $$
	select json_with_rest(command_json_plain(c, 'sent', c.attempts, true, null, null, c.late, c.sent_at, null), c.sealed_params, null, c.traceparent) $$;
-- json_with_sealed() stays for nodes of the version before.

-- The next journeys that are over, or timed out, and are to be recorded, each as its event told it: at most some `most`, those of the
-- last `lag` left out, since their transactions may still be under way. Each once, to whoever asks; what happened while
-- nobody asked for an hour stays unasked for.
create function traces_take(most integer, lag interval) returns table (command json, timeline json) language plpgsql set enable_seqscan = off as $$
declare
	since timestamptz;
	till timestamptz;
begin
	if not pg_try_advisory_xact_lock(hashtext('keyfob traces')) then
		return;
	end if;
	select greatest(m.traces_until, clock_timestamp() - interval '1 hour') into since from meta m;
	till := least(clock_timestamp() - lag, since + interval '1 minute');
	if till <= since then
		return;
	end if;
	return query
	with found as materialized (
		select e.at, e.data, c.timeline
		from events e
		cross join lateral json_to_record(e.data) as d(id uuid, status text)
		join commands c on c.vehicle_id = e.vehicle_id and c.id = d.id
		where e.at >= since and e.at < till and e.type = 'command.updated'
			and e.data::text ~ '"traceparent" : "00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]"'
			and d.status in ('timed_out', 'succeeded', 'failed', 'rejected', 'expired', 'canceled')
		order by e.at fetch first (most) rows with ties
	), moved as (
		update meta set traces_until = case when (select count(*) from found) < most then till
			else (select max(f.at) from found f) + interval '1 microsecond' end
	)
	select f.data, f.timeline::json from found f order by f.at;
end $$;

-- ── erasing a subject ────────────────────────────────────────────────────────

-- Who was erased, while their name still stands in commands, events or batches: vehicle after vehicle it is taken out. What is under way
-- keeps it until it is over.
create table erasures (
	subject text primary key,
	at      timestamptz not null default clock_timestamp(), -- who comes again under that name later is somebody else
	passed  text collate "C" not null default '',           -- up to this vehicle it is done, in this round
	remains boolean not null default false,                 -- something was left in this round
	due_at  timestamptz not null default clock_timestamp()
);

-- Erases what is kept of a subject: its grants end as those whose time is over do, the keys of its requests and its webhooks go, and
-- the audit table's rows do not name it any more. Heads and fleets are locked in the order of everybody else.
create or replace function subject_erase(whom text, asker text, whence text) returns void language plpgsql as $$
declare
	known uuid := actor(whom, null);
begin
	insert into erasures as e (subject) values (whom) -- before the heads, as erasures_look() has it
	on conflict (subject) do update set at = clock_timestamp(), passed = '', remains = false, due_at = clock_timestamp();
	perform from vehicle_heads h where h.vehicle_id in (
		select g.object_id from grants g where g.object_kind = 'vehicle' and whom in (g.subject, g.granted_by)) order by h.vehicle_id for update;
	perform from fleets f where f.fleet_id in (
		select g.object_id from grants g where g.object_kind = 'fleet' and whom in (g.subject, g.granted_by)) order by f.fleet_id for update;
	update grants g set expires_at = clock_timestamp() where g.subject = whom and (g.expires_at is null or g.expires_at > clock_timestamp());
	update grants g set granted_by = 'erased' where g.granted_by = whom;
	delete from idempotency k where k.subject = whom;
	delete from webhooks w where w.subject = whom;
	insert into audit (who, action, allowed, detail) values (actor(asker, whence), 'subject.erase', true, json_build_object('whom', known));
	delete from actors a where a.subject = whom;
end $$;

-- A reason without a name.
create function reason_erased(reason json, whom text) returns json language sql immutable parallel safe as
$$ select case when reason->>'by' = whom then jsonb_set(reason::jsonb, '{by}', '"erased"')::json else reason end $$;

-- Takes a name out of the commands of some vehicles whose heads the caller has locked, but for those that are not sent and may be
-- taken back by it. Whether any are left.
create function commands_erase(vehicles text[], whom text, until timestamptz) returns boolean language plpgsql as $$
begin
	update commands c set
		issued_by = case when c.issued_by = whom then 'erased' else c.issued_by end,
		reason = reason_erased(c.reason, whom),
		timeline = (select jsonb_agg(case when s.item->'detail'->>'by' = whom then jsonb_set(s.item, '{detail,by}', '"erased"') else s.item end order by s.n)
			from jsonb_array_elements(c.timeline) with ordinality as s(item, n))
	where c.vehicle_id = any(vehicles) and c.created_at <= until
		and (c.issued_by = whom or c.reason->>'by' = whom
		  or c.timeline @> jsonb_build_array(jsonb_build_object('detail', jsonb_build_object('by', whom))))
		and not (c.status in ('accepted', 'waiting') and c.flight in ('none', 'claimed'));
	return exists (select from commands c where c.vehicle_id = any(vehicles) and c.created_at <= until and c.issued_by = whom);
end $$;

-- Likewise of the events. What is told of a command begins with its id, and is changed as a text so that it still does.
create function events_erase(vehicles text[], whom text, until timestamptz) returns void language sql as $$
	update events e set data = case when e.type = 'command.updated'
		then replace(replace(e.data::text, '"issued_by" : ' || to_json(whom), '"issued_by" : "erased"'), '"by" : ' || to_json(whom), '"by" : "erased"')::json
		else jsonb_set(e.data::jsonb, '{subject}', '"erased"')::json end
	where e.vehicle_id = any(vehicles) and position(to_json(whom)::text in e.data::text) > 0
		and case when e.type = 'command.updated' then e.data->>'created_at' <= rfc3339(until)
			else e.data->>'subject' = whom and (e.at <= until or e.at <= until + interval '1 minute' and e.data->>'role' is null) end $$;

-- The next `most` vehicles of an erasure that is due and that nobody else has in hand. Whether there is more to do at once.
create function erasures_look(most integer) returns boolean language plpgsql as $$
declare
	e erasures;
	vehicles text[];
	is_left boolean;
begin
	select * into e from erasures o where o.due_at <= clock_timestamp() order by o.due_at limit 1 for update skip locked;
	if not found then
		return false;
	end if;
	select array_agg(h.vehicle_id) into vehicles
	from (select h.vehicle_id from vehicle_heads h where h.vehicle_id > e.passed order by h.vehicle_id limit most for update) h;
	if vehicles is not null then
		is_left := commands_erase(vehicles, e.subject, e.at);
		perform events_erase(vehicles, e.subject, e.at);
		update erasures o set passed = (select max(v collate "C") from unnest(vehicles) v), remains = e.remains or is_left where o.subject = e.subject;
		return true;
	end if;
	update batches b set issued_by = case when b.issued_by = e.subject then 'erased' else b.issued_by end, reason = reason_erased(b.reason, e.subject)
	where b.finished_at is not null and b.created_at <= e.at and (b.issued_by = e.subject or b.reason->>'by' = e.subject);
	if e.remains or exists (select from batches b where b.issued_by = e.subject and b.created_at <= e.at)
		or exists (select from grants g where g.subject = e.subject and g.created_at <= e.at)
	then -- the older it is the longer what is left may take
		update erasures o set passed = '', remains = false,
			due_at = clock_timestamp() + greatest(interval '2 seconds', least(interval '1 hour', clock_timestamp() - e.at))
		where o.subject = e.subject;
	else
		delete from erasures o where o.subject = e.subject;
	end if;
	return false;
end $$;
