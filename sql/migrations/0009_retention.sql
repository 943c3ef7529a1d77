-- Retention: commands and events end by the partition.

-- Drops the partitions of which every row is older than its retention, and no command may still change. A drop locks the parent table: it is
-- given up after a moment rather than hold up everybody behind it, and tried again with the next look.
create function partitions_drop(commands_ms bigint, events_ms bigint) returns void
	language plpgsql security definer set search_path from current set lock_timeout = '200ms' as $$
declare
	p record;
begin
	if not pg_try_advisory_xact_lock(hashtext('keyfob partitions')) then
		return;
	end if;
	for p in
		select c.oid::regclass as name
		from (values ('commands', interval '1 month', greatest(commands_ms * interval '1 millisecond', interval '9 days')), -- the longest life of a command: 8 days
			('events', interval '1 week', events_ms * interval '1 millisecond')) as k(kind, step, kept)
		join pg_inherits i on i.inhparent = k.kind::regclass
		join pg_class c on c.oid = i.inhrelid and c.relname ~ ('^' || k.kind || '_\d{8}$')
		where (to_timestamp(right(c.relname, 8), 'YYYYMMDD')::timestamp + k.step) at time zone 'UTC' < now() - k.kept
	loop
		execute format('drop table %s', p.name);
	end loop;
exception when lock_not_available then
	return;
end $$;
