-- Nobody waits for a table that is being added to, nor for a node that stands still amid a transaction.

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
