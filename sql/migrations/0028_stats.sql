-- Counting five seconds of a busy minute at once took a seventh of a second, which everybody felt who shared the processor.

-- Has the index of the events' time know all that is written but the last pages: it is told of them only when autovacuum comes by, once a
-- minute, and until then whoever looks for the last seconds reads all of that minute. It needs the owner's rights, and waits for nobody.
create function events_summarize() returns void language plpgsql security definer set search_path from current set lock_timeout = '20ms' as $$
declare
	newest constant regclass := to_regclass('events_' || to_char(date_trunc('week', now() at time zone 'UTC'), 'YYYYMMDD'));
	by_time constant regclass := (select i.indexrelid from pg_index i join pg_inherits h on h.inhrelid = i.indexrelid
		where h.inhparent = 'events_time'::regclass and i.indrelid = newest);
	pages constant bigint := 32; -- of a range, as the index has it
	range bigint := pg_relation_size(newest) / current_setting('block_size')::bigint / pages * pages - pages;
begin
	for i in 1..256 loop
		exit when by_time is null or range < 0 or brin_summarize_range(by_time, range) = 0;
		range := range - pages;
	end loop;
exception when lock_not_available then
	null;
end $$;

-- In binary numbers: the logarithm of a decimal one takes nine times as long.
create or replace function stats_bucket(took interval) returns smallint language sql immutable parallel safe as
$$ select floor(4 * ln(greatest(extract(epoch from took)::float8 * 1000, 0.01)) / ln(2::float8))::smallint $$;

-- As before, but for some time at least: each node asks for it twice a second.
create or replace function stats_count(lag interval) returns void language plpgsql set enable_seqscan = off as $$
declare
	since timestamptz;
	till timestamptz;
begin
	if not pg_try_advisory_xact_lock(hashtext('keyfob stats')) then
		return;
	end if;
	select greatest(m.stats_until, clock_timestamp() - interval '1 hour') into since from meta m;
	till := least(clock_timestamp() - lag, since + interval '1 minute');
	if till <= since + interval '300 milliseconds' then
		return;
	end if;
	with e as materialized (
		select e.fleet_id, date_trunc('minute', e.at) as minute, e.type, d.*
		from events e cross join lateral json_to_record(e.data) as d(status text, late boolean, provider text,
			created_at timestamptz, sent_at timestamptz, finished_at timestamptz)
		where e.at >= since and e.at < till and e.type in ('command.updated', 'wakeup.updated')
	), facts as (
		select e.fleet_id, e.minute, 'command' as kind, case when e.late then 'late' else e.status end as name, 0::smallint as bucket
		from e where e.type = 'command.updated' and e.status in ('accepted', 'timed_out', 'succeeded', 'failed', 'rejected', 'expired', 'canceled')
		union all
		select e.fleet_id, e.minute, 'stage', s.name, stats_bucket(s.took)
		from e cross join lateral (values ('delivered', e.sent_at - e.created_at), ('answered', e.finished_at - e.sent_at),
			('whole', e.finished_at - e.created_at)) as s(name, took)
		where e.type = 'command.updated' and e.status in ('succeeded', 'failed', 'rejected') and not e.late and s.took is not null
		union all
		select e.fleet_id, e.minute, 'wakeup', coalesce(e.provider, '') || '/' || e.status, 0::smallint
		from e where e.type = 'wakeup.updated'
	)
	insert into stats as s (fleet_id, minute, kind, name, bucket, n)
	select f.fleet_id, x.minute, x.kind, x.name, x.bucket, count(*)
	from facts x cross join lateral (values ('*'), (x.fleet_id)) as f(fleet_id)
	where f.fleet_id is not null
	group by 1, 2, 3, 4, 5
	on conflict (fleet_id, minute, kind, name, bucket) do update set n = s.n + excluded.n;
	update meta set stats_until = till;
	if date_trunc('hour', since) <> date_trunc('hour', till) then
		delete from stats where minute < now() - interval '8 days';
		delete from nodes where seen_at < now() - interval '1 day';
	end if;
end $$;
