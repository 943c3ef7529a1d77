-- Who waits for whom: nobody for a table that is being added to, and nobody for somebody who waits for them.

-- The partitions that are needed now and in the next days: commands by month, events by week.
create function partitions_wanted() returns table (kind text, name text, begins timestamptz, ends timestamptz) language sql stable as $$
	select k.kind, k.kind || '_' || to_char(at, 'YYYYMMDD'), at at time zone 'UTC', (at + k.step) at time zone 'UTC'
	from (values ('commands', 'month', interval '1 month', interval '8 days'), ('events', 'week', interval '1 week', interval '1 day')) as k(kind, unit, step, back)
	cross join lateral generate_series(date_trunc(k.unit, (now() - k.back) at time zone 'UTC'), (now() + interval '5 days') at time zone 'UTC', k.step) as at
$$;

-- Makes those that are missing, and returns the names of the ones that are missing still. A table that is attached locks its parent
-- against other changes of its kind alone, where one that is created as a partition waits for every reader, and everybody behind it: a
-- dump reads for hours. What has the parent locked nevertheless is not waited for: it is tried again with the next look.
create function partitions_make() returns text[] language plpgsql security definer set search_path from current set lock_timeout = '200ms' as $$
declare
	p record;
	missing text[] := '{}';
begin
	if not pg_try_advisory_xact_lock(hashtext('keyfob partitions')) then
		return missing;
	end if;
	for p in select * from partitions_wanted() w where to_regclass(w.name) is null loop
		begin
			execute format('create table %I (like %I including all)', p.name, p.kind);
			if p.kind = 'commands' then
				execute format('alter table %I set (fillfactor = 70)', p.name);
				execute format('alter table commands attach partition %I for values from (%L) to (%L)', p.name, uuid7_floor(p.begins), uuid7_floor(p.ends));
			else
				execute format('alter table events attach partition %I for values from (%L) to (%L)', p.name, p.begins, p.ends);
			end if;
		exception when lock_not_available then
			missing := missing || p.name;
		end;
	end loop;
	return missing;
end $$;

-- What a node of the version before calls, and what is run at --migrate.
create or replace function partitions_ensure() returns void language sql security definer set search_path from current as
$$ select partitions_make() $$;

-- As before, but the lines of all that was heard are locked once, in the order in which webhooks_settle() locks them, however long the look is.
create or replace function webhooks_follow(most integer) returns bigint language plpgsql set enable_seqscan = off as $$
declare
	p webhook_position;
	wanted_since constant timestamptz := (select min(w.enabled_at) from webhooks w where w.disabled_at is null);
	here constant bigint := (select system_identifier from pg_control_system());
	began constant timestamptz := clock_timestamp();
	till timestamptz;
	made bigint;
	told bigint := 0;
	heard_by uuid[];
	heard_of text[];
	webhook_ids uuid[] := '{}';
	vehicle_ids text[] := '{}';
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
		)
		select count(*), coalesce(array_agg(h.webhook_id), '{}'), coalesce(array_agg(h.vehicle_id), '{}') into made, heard_by, heard_of from heard h;
		webhook_ids := webhook_ids || heard_by;
		vehicle_ids := vehicle_ids || heard_of;
		told := told + made;
		p.upto := till;
		exit when till = 'infinity' or told >= most or clock_timestamp() > began + interval '1 second';
	end loop;
	insert into webhook_lines as l (webhook_id, vehicle_id, due_at)
	select h.webhook_id, h.vehicle_id, clock_timestamp() from unnest(webhook_ids, vehicle_ids) as h(webhook_id, vehicle_id) group by 1, 2 order by 1, 2
	on conflict (webhook_id, vehicle_id) do update set due_at = excluded.due_at where l.due_at is null;
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
