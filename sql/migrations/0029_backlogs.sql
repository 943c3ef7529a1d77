-- What one caller could make as long as their webhook's or their batches' backlog is done a part at a time, or read as it was kept.

-- A webhook whose waiting deliveries begin anew: how far that has come. '': not begun; null: nothing to do.
alter table webhooks add column resume_after text collate "C";
create index webhooks_resuming on webhooks (resume_after, id) where resume_after is not null;

-- As webhook_put, which nodes of the version before call; but what waits in lines, however many they are, is left to webhooks_resume().
create function webhook_write(who text, admin boolean, wanted uuid, is_new boolean, b json, fresh text, most integer, whence text, out outcome text, out body json) language plpgsql as $$
declare
	w webhooks;
	enables constant boolean := coalesce((b->>'enabled')::boolean, true);
begin
	outcome := 'done';
	begin
		if is_new then
			if (select count(*) from webhooks o where o.subject = who) >= most then
				raise exception 'too_many' using errcode = 'KF004';
			end if;
			insert into webhooks (id, subject, is_admin, url, secret) values (wanted, who, admin, b->>'url', fresh) returning * into w;
		else
			perform from webhooks o where o.id = wanted and (admin or o.subject = who) for update;
			if not found then
				raise exception 'no_webhook' using errcode = 'KF004';
			end if;
		end if;
		update webhooks o set
			is_admin = case when o.subject = who then admin else o.is_admin end,
			url = b->>'url', description = coalesce(b->>'description', ''),
			types = array(select distinct k from json_array_elements_text(b->'types') k order by 1),
			enabled_at = case when enables and o.disabled_at is not null then clock_timestamp() else o.enabled_at end,
			disabled_at = case when not enables then coalesce(o.disabled_at, clock_timestamp()) end,
			disabled_reason = case when not enables then coalesce(o.disabled_reason, 'paused') end,
			held_until = case when o.disabled_at is null then o.held_until end,
			resume_after = case when enables and not is_new then '' end,
			updated_at = clock_timestamp()
		where o.id = wanted returning * into w;
		outcome := webhook_aim(w, b);
		if outcome <> 'done' then
			raise exception '%', outcome using errcode = 'KF004';
		end if;
		body := case when is_new then webhook_json_secret(w) else webhook_json(w) end;
	exception when sqlstate 'KF004' then
		outcome := sqlerrm;
	end;
	insert into audit (who, action, object, allowed, detail)
	values (actor(who, whence), case when is_new then 'webhook.create' else 'webhook.put' end, 'webhook/' || wanted, outcome = 'done',
		(b::jsonb - 'id' - 'url' - 'description')::json); -- a URL may have a secret in it
end $$;

-- The next lines, at most `most`, of a webhook whose waiting deliveries begin anew: true, or false where there is none. Who has come
-- least far is first. Lines are locked before their webhook, as everybody has it; where that was changed meanwhile, the next look
-- begins again.
create function webhooks_resume(most integer) returns boolean language plpgsql as $$
declare
	w record;
	vehicles text[];
begin
	select o.id, o.resume_after as after into w from webhooks o where o.resume_after is not null order by o.resume_after, o.id limit 1;
	if not found then
		return false;
	end if;
	select array_agg(x.vehicle_id order by x.vehicle_id) into vehicles from (
		select l.vehicle_id from webhook_lines l where l.webhook_id = w.id and l.vehicle_id > w.after and l.due_at is not null
		order by l.vehicle_id limit most for update) x;
	update webhooks o set resume_after = case when cardinality(vehicles) = most then vehicles[most] end
	where o.id = w.id and o.resume_after = w.after;
	if found then
		perform webhook_resume(w.id, vehicles);
	end if;
	return true;
end $$;

-- What is on its way of a batch, as it was counted last: by who feeds it, and once it is over by batches_recount(). With each reading
-- of a list all targets of all of its batches would be counted.
alter table batches add column under_way jsonb not null default '{}', add column counted_at timestamptz not null default clock_timestamp();

create function batch_unsettled(b batches) returns bigint language sql immutable as
$$ select b.total - coalesce(sum(n.value::integer), 0) from jsonb_each(b.settled) n $$;

-- A batch as the outside sees it; every count is there. Where at most `most` targets may be on their way they are counted now.
create function batch_json(b batches, most bigint) returns json language plpgsql stable as $$
declare
	counts constant jsonb := batch_counts(b, case when batch_unsettled(b) <= most then (select coalesce(jsonb_object_agg(o.status, o.many), '{}')
		from (select o.status, count(*)::integer as many from batch_open(b.id) o group by o.status) o) else b.under_way end);
begin
	return json_build_object('id', b.id, 'fleet_id', b.fleet_id, 'name', b.name, 'params', b.params, 'state', b.state, 'reason', b.reason,
		'issued_by', b.issued_by, 'total', b.total,
		'counts', (select json_object_agg(s.status, coalesce((counts->s.status)::integer, 0) order by s.n)
			from unnest('pending'::text || enum_range(null::command_status)::text[] || array['refused', 'skipped']) with ordinality as s(status, n)),
		'failures', batch_failures(counts), 'max_failures', b.max_failures, 'rate', b.rate,
		'ttl_seconds', b.ttl_seconds, 'timeout_seconds', b.timeout_seconds, 'wake', b.wake,
		'created_at', rfc3339(b.created_at), 'updated_at', rfc3339(b.updated_at), 'finished_at', rfc3339(b.finished_at));
end $$;

create or replace function batch_json(b batches) returns json language sql stable as $$ select batch_json(b, 5000) $$;

-- As 0006 has it, but that it keeps what is on its way.
create or replace function batch_settle(batch uuid, out becomes text, out failures integer, out newly integer) language plpgsql as $$
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
	if newly > 0 or open <> b.under_way then
		update batches set settled = counts_add(b.settled, over), under_way = open, counted_at = clock_timestamp(),
			updated_at = case when newly > 0 then clock_timestamp() else b.updated_at end
		where id = batch returning * into b;
	end if;
	counts := batch_counts(b, open);
	failures := batch_failures(counts);
	becomes := case
		when b.state <> 'running' then null
		when not exists (select from jsonb_each(counts) n where n.key in ('pending', 'accepted', 'waiting', 'sent', 'in_progress') and n.value <> '0') then 'completed'
		when failures > b.max_failures then 'stopped' end;
end $$;

-- Counts one of the batches that nobody feeds any more and that are not counted when they are read: the one that was counted the
-- longest time ago. No command of one is answered later than eight days after its end.
create function batches_recount(most bigint) returns void language plpgsql as $$
declare
	batch constant uuid := (select b.id from batches b
		where b.state <> 'running' and b.finished_at > now() - interval '9 days' and batch_unsettled(b) > most order by b.counted_at limit 1);
begin
	if batch is not null then
		perform batch_settle(batch);
		update batches set counted_at = clock_timestamp() where id = batch;
	end if;
end $$;
