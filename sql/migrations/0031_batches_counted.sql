-- What a caller's batches would have every list of them count is kept.

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
	batch uuid;
begin
	select b.id into batch from batches b
	where b.state <> 'running' and b.finished_at > now() - interval '9 days' and b.counted_at < clock_timestamp() - interval '50 seconds'
		and batch_unsettled(b) > most order by b.counted_at limit 1 for update skip locked;
	if found then
		perform batch_settle(batch);
		update batches set counted_at = clock_timestamp() where id = batch;
	end if;
end $$;
