-- What operators look at: nodes, what became of commands and wake-ups, and how long it took (docs/console.md).

-- What somebody looks at as a whole, and by which rank: a fleet, or all vehicles ('*'), which are for admin. No row: there is no such fleet.
create function overseen(who text, is_admin boolean, fleet text) returns table (fleet_id text, rank integer) language sql stable as $$
	select f.fleet_id, case when is_admin then 3 else grant_rank(who, null, f.fleet_id) end from fleets f where f.fleet_id = fleet
	union all
	select '*', 3 where fleet = '*' and is_admin $$;

-- ── nodes ────────────────────────────────────────────────────────────────────

-- What a node says of itself every few seconds. Which leases its workers hold stands in leases.
create table nodes (
	node       text primary key,
	version    text not null,
	started_at timestamptz not null,
	seen_at    timestamptz not null,
	ready      boolean not null,
	draining   boolean not null,
	checks     json not null,                   -- as /readyz has them
	load       json not null
) with (fillfactor = 50);

-- ── statistics ───────────────────────────────────────────────────────────────

-- How many, by minute: commands by what became of them, stages by how long they took (`bucket`: stats_bucket()), wake-ups by
-- 'provider/status'. Counted from the events, once; '*' is all vehicles.
create table stats (
	fleet_id text collate "C" not null,
	minute   timestamptz not null,
	kind     text not null check (kind in ('command', 'stage', 'wakeup')),
	name     text not null,
	bucket   smallint not null default 0,
	n        bigint not null,
	primary key (fleet_id, minute, kind, name, bucket)
);
create index stats_age on stats using brin (minute);
-- Up to when events are counted.
alter table meta add column stats_until timestamptz not null default clock_timestamp();
-- Events come in the order of their time: an index that is next to nothing finds those of the last seconds.
create index events_time on events using brin (at) with (pages_per_range = 32, autosummarize = on);

-- Four buckets double: what is read from them is right to a tenth.
create function stats_bucket(took interval) returns smallint language sql immutable parallel safe as
$$ select floor(4 * ln(greatest(extract(epoch from took) * 1000, 0.01)) / ln(2))::smallint $$;
create function stats_bucket_ms(bucket integer) returns numeric language sql immutable parallel safe as
$$ select round(power(2::numeric, (bucket + 0.5) / 4), 2) $$;

-- Counts the next events, of a minute at most, those of the last `lag` left out: their transactions may still be under way. One
-- node at a time; what happened while none was there for an hour stays uncounted.
create function stats_count(lag interval) returns void language plpgsql set enable_seqscan = off as $$
declare
	since timestamptz;
	till timestamptz;
begin
	if not pg_try_advisory_xact_lock(hashtext('keyfob stats')) then
		return;
	end if;
	select greatest(m.stats_until, clock_timestamp() - interval '1 hour') into since from meta m;
	till := least(clock_timestamp() - lag, since + interval '1 minute');
	if till <= since then
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

-- ── lists over all vehicles ──────────────────────────────────────────────────

create index events_alerts on events (at, vehicle_id) where type = 'security.alert';
create index wakeups_newest on wakeups (id);
create index retained_blocked on retained (vehicle_id) where kind = 'blocked' and payload <> '';
