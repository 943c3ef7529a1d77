-- Traces: what W3C Trace Context says of a command is kept with it and shown, and journeys that are over are found for export
-- (docs/observability.md).

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
drop function json_with_sealed(json, text, text);

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
