-- What a command costs, once more: JSON is written as text and read once. json_build_object() looks up the type of each argument at each
-- call, which for one command cost more than all its indexes.

-- One item of a timeline.
create function step_text(what text, detail text, at text) returns text language sql immutable parallel safe as
$$ select '{"time": "' || at || '", "step": "' || what || '", "detail": ' || detail || '}' $$;
create or replace function step(what text, detail jsonb default '{}', at timestamptz default clock_timestamp()) returns jsonb language sql stable as
$$ select ('[' || step_text(what, coalesce(detail::text, 'null'), rfc3339(at)) || ']')::jsonb $$;

-- A command as the outside sees it, without its timeline. It begins with its id, and what is sealed or traced shows only when it is there. Each
-- argument is used once, so that it is written out in place.
create function command_text(id uuid, vehicle_id text, name text, params text, status command_status, reason text, result text, late boolean,
	may_have_executed boolean, issued_by text, attempts integer, timeout_seconds integer, created_at text, expires_at text, updated_at text,
	sent_at text, finished_at text, sealed_params text, sealed_result text, traceparent text) returns text language sql stable as $$
	select '{"id" : "' || id || '", "vehicle_id" : ' || to_json(vehicle_id) || ', "name" : ' || to_json(name)
		|| ', "params" : ' || coalesce(params, 'null') || ', "status" : "' || status
		|| '", "reason" : ' || coalesce(reason, 'null') || ', "result" : ' || coalesce(result, 'null')
		|| ', "late" : ' || late || ', "may_have_executed" : ' || may_have_executed
		|| ', "issued_by" : ' || to_json(issued_by) || ', "attempts" : ' || attempts || ', "timeout_seconds" : ' || timeout_seconds
		|| ', "created_at" : "' || created_at || '", "expires_at" : "' || expires_at || '", "updated_at" : "' || updated_at
		|| '", "sent_at" : ' || coalesce('"' || sent_at || '"', 'null') || ', "finished_at" : ' || coalesce('"' || finished_at || '"', 'null')
		|| coalesce(', "sealed_params" : ' || to_json(sealed_params), '') || coalesce(', "sealed_result" : ' || to_json(sealed_result), '')
		|| coalesce(', "traceparent" : ' || to_json(traceparent), '') || '}' $$;
create or replace function command_json(c commands) returns json language sql stable as $$
	select command_text(c.id, c.vehicle_id, c.name, c.params::text, c.status, c.reason::text, c.result::text, c.late,
		c.flight <> 'none' and c.status in ('accepted', 'waiting', 'sent', 'in_progress', 'timed_out'),
		c.issued_by, c.attempts, c.timeout_seconds, rfc3339(c.created_at), rfc3339(c.expires_at), rfc3339(c.updated_at),
		rfc3339(c.sent_at), rfc3339(c.finished_at), c.sealed_params, c.sealed_result, c.traceparent)::json $$;
-- As it was sent, before its answer.
create or replace function command_json_sent(c commands) returns json language sql stable as $$
	select command_text(c.id, c.vehicle_id, c.name, c.params::text, 'sent', null, null, c.late, true,
		c.issued_by, c.attempts, c.timeout_seconds, rfc3339(c.created_at), rfc3339(c.expires_at), rfc3339(c.updated_at),
		rfc3339(c.sent_at), null, c.sealed_params, null, c.traceparent)::json $$;
-- command_json_accepted() and what it is made of stay for nodes of the version before.

-- As before, but its first query finds those alone of whom something is to be changed: what is accepted for a vehicle that is away mostly
-- changes nothing.
create or replace function wake_settle(vehicles text[], wanted boolean, probes boolean, lost_for interval, back_for interval, return_delay interval)
returns table (answered bigint, due boolean, refused bigint) language plpgsql set enable_seqscan = off as $$
#variable_conflict use_column
declare
	r record;
	u wakeups;
	detail constant jsonb := jsonb_build_object('id', null, 'status', 'refused', 'provider', null, 'attempt', 1, 'reason', 'NO_MSISDN');
	answers bigint := 0;
	is_due boolean := false;
	concerned text[];
	absent text[];
	numberless text[];
begin
	-- most vehicles are there, or away with nothing that changes: they end here
	select array_agg(h.vehicle_id) filter (where a.is_absent), array_agg(h.vehicle_id) filter (where a.is_absent is null) into concerned, absent
	from unnest(vehicles) as i(vehicle_id) join vehicle_heads h on h.vehicle_id = i.vehicle_id
		left join lateral (select true as is_absent, a.phase, a.probe_id, a.refused, a.seen_seq from absences a where a.vehicle_id = h.vehicle_id limit 1) a on true
	where case when a.is_absent then h.reachable or a.phase = 'probing' and h.claim_id is distinct from a.probe_id
			or (select a.refused is distinct from 'NO_MSISDN' or v.msisdn is null from vehicles v
				where v.vehicle_id = h.vehicle_id and v.retired_at is null) is not true
			or (select true from wake_wanted n where n.vehicle_id = h.vehicle_id and n.accepted_seq > a.seen_seq limit 1)
		else wanted and not h.reachable end;
	if concerned is null and absent is null then
		answered := 0;
		due := false;
		refused := 0;
		return next;
		return;
	end if;
	if absent is not null then
		with away as materialized (
			select h.vehicle_id, n.newest,
				case when back_for < return_delay and h.since >= now() - lost_for then return_delay - back_for else interval '0' end as hold,
				-- whom the broker has just said not to be there is not asked again
				probes and v.msisdn is not null and not coalesce(h.reason = 'NO_SUBSCRIBER' and h.since >= now(), false) as may_probe,
				v.msisdn is null as has_no_number
			from unnest(absent) as i(vehicle_id)
			join vehicle_heads h on h.vehicle_id = i.vehicle_id
			join vehicles v on v.vehicle_id = h.vehicle_id and v.retired_at is null
			cross join lateral (select max(n.accepted_seq) as newest from wake_wanted n where n.vehicle_id = h.vehicle_id) n
			where n.newest is not null
			order by h.vehicle_id
		), begun as (
			insert into absences as a (vehicle_id, phase, due_at, seen_seq, refused, step)
			select w.vehicle_id, case when w.may_probe then 'probe' else 'ready' end,
				case when not w.has_no_number or w.hold > interval '0'
					then clock_timestamp() + greatest(w.hold, case when w.may_probe then interval '5 seconds' end) end,
				w.newest, case when w.has_no_number and w.hold = interval '0' then 'NO_MSISDN' end,
				case when w.has_no_number and w.hold = interval '0' then detail end
			from away w
			returning a.vehicle_id, a.phase, a.refused
		)
		select array_agg(b.vehicle_id) filter (where b.refused is not null), coalesce(bool_or(b.phase = 'ready' and b.refused is null), false)
		into numberless, is_due from begun b;
	end if;
	if numberless is not null then
		with wanting as materialized (
			select i.vehicle_id, n.id from unnest(numberless) as i(vehicle_id)
			cross join lateral (select w.id from wake_wanted w where w.vehicle_id = i.vehicle_id offset 0) n
		)
		update commands c set timeline = c.timeline || step('wakeup', detail)
		from wanting w where c.vehicle_id = w.vehicle_id and c.id = w.id;
	end if;
	for r in
		select h.vehicle_id, h.reachable, h.claim_id, v.vehicle_id is null as gone, v.msisdn, h.since, s.a, n.newest
		from unnest(concerned) as i(vehicle_id)
		join vehicle_heads h on h.vehicle_id = i.vehicle_id
		cross join lateral (select x as a from absences x where x.vehicle_id = h.vehicle_id offset 0) s
		left join vehicles v on v.vehicle_id = h.vehicle_id and v.retired_at is null
		cross join lateral (select max(n.accepted_seq) as newest from wake_wanted n where not h.reachable and n.vehicle_id = h.vehicle_id) n
		where h.reachable or v.vehicle_id is null or (s.a).phase = 'probing' and h.claim_id is distinct from (s.a).probe_id
			or n.newest > (s.a).seen_seq or (s.a).refused = 'NO_MSISDN' and v.msisdn is not null
		order by h.vehicle_id
	loop
		if r.reachable or r.gone then
			-- the last one that may have reached it
			select x.* into u from wakeups x where r.reachable and x.vehicle_id = r.vehicle_id and x.created_at >= (r.a).began_at
				and x.status in ('spent', 'submitted', 'delivered') order by x.created_at desc limit 1;
			if found then
				if u.status = 'spent' then -- it came before the provider's answer did
					perform wakeup_tell(u);
				end if;
				update wakeups w set status = 'answered', updated_at = clock_timestamp()
				where w.vehicle_id = u.vehicle_id and w.id = u.id returning w.* into u;
				perform wakeup_tell(u);
				answers := answers + 1;
			end if;
			delete from absences a where a.vehicle_id = r.vehicle_id;
			continue;
		end if;
		if (r.a).phase = 'probing' and r.claim_id is distinct from (r.a).probe_id then
			-- disproved, it waits as before; else the vehicle may be about to answer
			update absences a set phase = 'ready', due_at = clock_timestamp() + greatest(
				case when back_for < return_delay and r.since >= now() - lost_for then return_delay - back_for else interval '0' end,
				case when not exists (
					select from commands c where c.vehicle_id = r.vehicle_id and c.id = a.probe_id and c.status = 'waiting' and c.flight = 'none')
				then interval '2 seconds' end)
			where a.vehicle_id = r.vehicle_id;
			is_due := true;
		end if;
		if r.newest > (r.a).seen_seq or (r.a).refused = 'NO_MSISDN' and r.msisdn is not null then
			update commands c set timeline = c.timeline || step('wakeup', (r.a).step)
			from wake_wanted n
			where (r.a).step is not null and n.vehicle_id = r.vehicle_id and n.accepted_seq > (r.a).seen_seq
				and c.vehicle_id = n.vehicle_id and c.id = n.id;
			-- without a number there is nothing to look at again
			update absences a set seen_seq = greatest(a.seen_seq, r.newest),
				due_at = coalesce(a.due_at, case when a.refused is distinct from 'NO_MSISDN' or r.msisdn is not null then clock_timestamp() end)
			where a.vehicle_id = r.vehicle_id returning is_due or (r.a).due_at is null and a.due_at is not null into is_due;
		end if;
	end loop;
	answered := answers;
	due := is_due;
	refused := coalesce(cardinality(numberless), 0);
	return next;
end $$;
