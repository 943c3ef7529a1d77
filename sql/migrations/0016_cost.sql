-- What a command costs: commands to a vehicle that is away begin as waiting, and what looks for work finds none at once. A plan is
-- made at a connection's first use of it, when tables may be empty, and kept: what must go by its key is a subquery that gives
-- one value, which cannot be turned into a join (an `exists` can, and then reads the table for each vehicle).

-- Ranks by a grant on the vehicle and on its fleet; 0: none. Written out in place by the planner, so that a batch reads grants without a
-- call for each row; grant_rank() is made of it.
create function grant_ranks(who text, vehicle text, fleet text) returns table (rank integer) language sql stable as $$
	select greatest(
		coalesce((select role_rank(g.role) from grants g where g.object_kind = 'vehicle' and g.object_id = vehicle and g.subject = who
			and (g.expires_at is null or g.expires_at > now())), 0),
		coalesce((select role_rank(g.role) from grants g where g.object_kind = 'fleet' and g.object_id = fleet and g.subject = who
			and (g.expires_at is null or g.expires_at > now())), 0)) $$;

create or replace function grant_rank(who text, vehicle text, fleet text) returns integer language plpgsql stable parallel safe as $$
begin
	return (select g.rank from grant_ranks(who, vehicle, fleet) g);
end $$;

-- A command to a vehicle that is away passes through `accepted` as it is inserted.
create or replace function command_guard_insert() returns trigger language plpgsql as $$
begin
	raise exception 'command %: begins as accepted, claimed at most, or as waiting, not as % (%)', new.id, new.status, new.flight
		using errcode = 'check_violation';
end $$;
create or replace trigger commands_guard_insert before insert on commands for each row
	when (not (new.status = 'accepted' and new.flight in ('none', 'claimed') or new.status = 'waiting' and new.flight = 'none'))
	execute function command_guard_insert();

-- Who begins or ends to watch goes by the key; the rest of a worker that is gone can be looked for.
drop index interest_worker;

-- S6, as before: no change but those of the table, whoever asks. The table's rows are written into the function, since a look at
-- the table for each row that changes costs more than the rest of the trigger.
do $migration$
begin
	execute format($sql$
create or replace function command_guard() returns trigger language plpgsql as $$
begin
	if old.status::text || ' ' || old.flight || ' ' || new.status || ' ' || new.flight <> all (%L::text[]) then
		raise exception 'command %%: %% (%%) cannot become %% (%%)', old.id, old.status, old.flight, new.status, new.flight
			using errcode = 'check_violation';
	end if;
	return new;
end $$
	$sql$, (select array_agg(distinct concat_ws(' ', l.from_status, l.from_flight, l.to_status, l.to_flight)) from lifecycle_paths l));
end $migration$;

-- A vehicle that is away has only waiting commands: of `vehicles`, who are not reachable, what is accepted, and what was sent and
-- not answered and can be offered again, waits.
create or replace function settle_absent(vehicles text[]) returns void language plpgsql as $$
begin
	perform command_apply(null, array_agg(o.vehicle_id), array_agg(o.id), array_agg('absent'::text), array_agg(null::json), array_agg(null::json),
		array_agg(null::text), array_agg(step('reachability', jsonb_build_object('state', 'disconnected', 'since', rfc3339(o.since), 'reason', o.reason))))
	from (
		select h.vehicle_id, c.id, h.reason, h.since
		from unnest(vehicles) as i(vehicle_id)
		join vehicle_heads h on h.vehicle_id = i.vehicle_id and not h.reachable
		cross join lateral (select a.id, a.accepted_seq from absent_commands(h.vehicle_id) a offset 0) c
		order by h.vehicle_id, c.accepted_seq
	) o
	having count(*) > 0;
end $$;

-- Those of one vehicle.
create function absent_commands(vehicle text) returns table (id uuid, accepted_seq bigint) language sql stable as $$
	select c.id, c.accepted_seq from commands c
	where c.vehicle_id = vehicle and c.id >= (select uuid7_floor(now() - interval '8 days')) and c.status in ('accepted', 'sent')
		and (c.status = 'accepted' and c.flight in ('none', 'out')
		  or c.status = 'sent' and c.flight = 'out' and c.redelivery <> 'never' and c.expires_at > clock_timestamp()) $$;

-- Ends every transaction, when absences are settled. A vehicle that is away has only waiting commands; of each reachable one whose
-- head has no claim, the oldest unsent command is claimed for this worker, and returned to be published. Where it cannot publish
-- (`publishes` false), or nobody would hear the answer yet (on its feed, or the one of its protocol), a timer offers it again. Likewise
-- where the session was just connected and has not subscribed: nobody would hear the request. One that is silent about it for a
-- second (a resumed session, on some brokers) is tried.
-- A vehicle that is away is tried once so before it is woken by SMS (absences, 'probe'): whoever was there all along gets the command.
create or replace function settle_commands(vehicles text[], feeds text[], worker text, publishes boolean)
returns table (vehicle_id text, id uuid, name text, params json, sealed_params text, issued_at text, expires_at text, attempt integer,
	expires_us bigint, traceparent text, session text, protocol text) language plpgsql as $$
#variable_conflict use_column
declare
	oldest constant uuid := uuid7_floor(now() - interval '8 days');
	concerned text[];
	their_feeds text[];
begin
	-- of most vehicles nothing is left to do, and the plans below need not be set up for them
	select array_agg(h.vehicle_id), array_agg(i.feed) into concerned, their_feeds
	from unnest(vehicles, feeds) as i(vehicle_id, feed) join vehicle_heads h on h.vehicle_id = i.vehicle_id
	where case when h.reachable then h.claim_id is null and (
			select true from commands c where c.vehicle_id = h.vehicle_id and c.id >= oldest and c.status in ('accepted', 'waiting', 'sent')
			order by c.accepted_seq limit 1)
		else (select true from absent_commands(h.vehicle_id) limit 1)
			or h.claim_id is null and (select true from absences a where a.vehicle_id = h.vehicle_id and a.phase = 'probe') end;
	if concerned is null then
		return;
	end if;
	perform settle_absent(concerned);
	return query
	with open as materialized (
		select h.vehicle_id, audience(h) as session, h.reachable, v.protocol, p.*,
			publishes and f.subscribed and (h.subscribed or coalesce(h.taken_at < clock_timestamp() - interval '1 second', true)) as may
		from unnest(concerned, their_feeds) as i(vehicle_id, feed)
		join vehicle_heads h on h.vehicle_id = i.vehicle_id and h.claim_id is null
			and (h.reachable or is_to_be_probed(h.vehicle_id))
		join vehicles v on v.vehicle_id = h.vehicle_id
		join leases f on f.name = 'feed/' || case v.protocol when 'keyfob' then i.feed else v.protocol end
		cross join lateral (
			select c.id, c.name, c.params, c.sealed_params, c.created_at, c.expires_at, c.attempts, c.traceparent
			from commands c
			where c.vehicle_id = h.vehicle_id and c.id >= oldest
				and c.status in ('accepted', 'waiting', 'sent') and c.expires_at >= clock_timestamp() + interval '1 second'
				and (c.flight = 'none'
				  or c.flight = 'out' and c.redelivery <> 'never'
				     and (c.status <> 'sent' or c.publish_session is distinct from audience(h)))
			order by c.accepted_seq limit 1
		) p
		order by h.vehicle_id
	), later as (
		insert into timers (kind, vehicle_id, due_at)
		select 'offer', o.vehicle_id, clock_timestamp() + interval '1 second' from open o where not o.may
		on conflict (kind, vehicle_id) do update set due_at = excluded.due_at
	), may as materialized (
		select * from open where open.may
	), probing as (
		update absences a set phase = 'probing', probe_id = m.id, due_at = clock_timestamp() + interval '10 seconds'
		from may m where not m.reachable and a.vehicle_id = m.vehicle_id
	)
	select m.vehicle_id, m.id, m.name, m.params, m.sealed_params, rfc3339(m.created_at) as issued_at, rfc3339(m.expires_at) as expires_at,
		m.attempts + 1 as attempt, (extract(epoch from m.expires_at) * 1000000)::bigint as expires_us, m.traceparent, m.session, m.protocol
	from rows from (
		command_apply(worker, array(select vehicle_id from may), array(select id from may), array(select 'claim' from may),
			array(select null::json from may), array(select null::json from may), array(select null::text from may),
			array(select step('claimed', jsonb_build_object('worker', worker, 'attempt', attempts + 1)
				|| case when reachable then '{}' else '{"probe": true}' end::jsonb) from may)),
		unnest(array(select vehicle_id from may), array(select id from may), array(select name from may), array(select params from may),
			array(select sealed_params from may), array(select created_at from may), array(select expires_at from may),
			array(select attempts from may), array(select traceparent from may), array(select session from may), array(select protocol from may)))
		as m(n, applied, status, vehicle_id, id, name, params, sealed_params, created_at, expires_at, attempts, traceparent, session, protocol)
	where m.applied
	order by m.n;
end $$;

-- Ends every transaction, before commands are claimed: an absence begins where something wants the vehicle woken, a
-- probe's verdict is read, what joins is told, and who is back has answered. `wanted`: there are providers; `probes`: the
-- broker says when nobody is subscribed; a broker that was lost `lost_for` ago came back `back_for` ago, and a fleet may need `return_delay` to do so:
-- who was there when it was lost is not woken meanwhile. Who has no number is refused at once. How many answered, whether something is due
-- now, and how many were refused.
drop function wake_settle(text[], boolean, boolean, interval, interval, interval);
create function wake_settle(vehicles text[], wanted boolean, probes boolean, lost_for interval, back_for interval, return_delay interval)
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
	-- most vehicles are there, and end here
	select array_agg(h.vehicle_id), array_agg(h.vehicle_id) filter (where not h.reachable and a.is_absent is null) into concerned, absent
	from unnest(vehicles) as i(vehicle_id) join vehicle_heads h on h.vehicle_id = i.vehicle_id
		left join lateral (select true as is_absent from absences a where a.vehicle_id = h.vehicle_id limit 1) a on true
	where wanted and not h.reachable or a.is_absent;
	if concerned is null then
		return query select answers, is_due, 0::bigint;
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
	return query select answers, is_due, coalesce(cardinality(numberless), 0)::bigint;
end $$;
