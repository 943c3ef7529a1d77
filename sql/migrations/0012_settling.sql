-- What ends every transaction leaves early when nothing is left to do, and so does the proof of life. Who was there when the broker was
-- lost is judged by the time of the loss. The wake_settle() of before stays for nodes of the version before.

-- Ends every transaction, before commands are claimed: an absence begins where something wants the vehicle woken, a
-- probe's verdict is read, what joins is told, and who is back has answered. `wanted`: there are providers; `probes`: the
-- broker says when nobody is subscribed; a broker that was lost `lost_for` ago came back `back_for` ago, and a fleet may need `return_delay` to do so:
-- who was there when it was lost is not woken meanwhile. How many answered, and whether something is due now.
create function wake_settle(vehicles text[], wanted boolean, probes boolean, lost_for interval, back_for interval, return_delay interval) returns table (answered bigint, due boolean) language plpgsql set enable_seqscan = off as $$
declare
	r record;
	u wakeups;
	answers bigint := 0;
	is_due boolean := false;
	may_probe boolean;
	hold interval;
	concerned text[];
begin
	-- most vehicles are there, and end here
	select array_agg(h.vehicle_id) into concerned
	from unnest(vehicles) as i(vehicle_id) join vehicle_heads h on h.vehicle_id = i.vehicle_id
	where wanted and not h.reachable or exists (select from absences a where a.vehicle_id = h.vehicle_id);
	if concerned is null then
		return query select answers, is_due;
		return;
	end if;
	for r in
		select h.vehicle_id, h.reachable, h.claim_id, v.vehicle_id is null as gone, v.msisdn,
			h.reason = 'NO_SUBSCRIBER' and h.since >= now() as disproved, h.since, a, n.newest
		from unnest(concerned) as i(vehicle_id)
		join vehicle_heads h on h.vehicle_id = i.vehicle_id
		left join absences a on a.vehicle_id = h.vehicle_id
		left join vehicles v on v.vehicle_id = h.vehicle_id and v.retired_at is null
		left join lateral (select max(n.accepted_seq) as newest from wake_wanted n where not h.reachable and n.vehicle_id = h.vehicle_id) n on true
		where a.vehicle_id is not null or n.newest is not null and v.vehicle_id is not null
		order by h.vehicle_id
	loop
		hold := case when back_for < return_delay and r.since >= now() - lost_for then return_delay - back_for else interval '0' end;
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
		elsif (r.a).vehicle_id is null then
			-- whom the broker has just said not to be there is not asked again
			may_probe := probes and r.msisdn is not null and not coalesce(r.disproved, false);
			insert into absences (vehicle_id, phase, due_at, seen_seq)
			values (r.vehicle_id, case when may_probe then 'probe' else 'ready' end,
				clock_timestamp() + greatest(hold, case when may_probe then interval '5 seconds' end), r.newest);
			is_due := is_due or not may_probe;
		else
			if (r.a).phase = 'probing' and r.claim_id is distinct from (r.a).probe_id then
				-- disproved, it waits as before; else the vehicle may be about to answer
				update absences a set phase = 'ready', due_at = clock_timestamp() + greatest(hold, case when not exists (
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
				update absences a set seen_seq = greatest(a.seen_seq, r.newest), due_at = coalesce(a.due_at, clock_timestamp())
				where a.vehicle_id = r.vehicle_id;
				is_due := is_due or (r.a).due_at is null;
			end if;
		end if;
	end loop;
	return query select answers, is_due;
end $$;

-- A vehicle that is away has only waiting commands: of `vehicles`, who are not reachable, what is accepted, and what was sent and
-- not answered and can be offered again, waits.
create function settle_absent(vehicles text[]) returns void language plpgsql as $$
begin
	perform command_apply(null, array_agg(o.vehicle_id), array_agg(o.id), array_agg('absent'::text), array_agg(null::json), array_agg(null::json),
		array_agg(null::text), array_agg(step('reachability', jsonb_build_object('state', 'disconnected', 'since', rfc3339(o.since), 'reason', o.reason))))
	from (
		select c.vehicle_id, c.id, h.reason, h.since
		from unnest(vehicles) as i(vehicle_id)
		join vehicle_heads h on h.vehicle_id = i.vehicle_id and not h.reachable
		join commands c on c.vehicle_id = h.vehicle_id and c.id >= (select uuid7_floor(now() - interval '8 days'))
			and (c.status = 'accepted' and c.flight in ('none', 'out')
			  or c.status = 'sent' and c.flight = 'out' and c.redelivery <> 'never' and c.expires_at > clock_timestamp())
		order by c.vehicle_id, c.accepted_seq
	) o
	having count(*) > 0;
end $$;

-- Ends every transaction, when absences are settled. A vehicle that is away has only waiting commands; of each reachable one whose
-- head has no claim, the oldest unsent command is claimed for this worker, and returned to be published. Where it cannot publish
-- (`publishes` false), or nobody would hear the answer yet (on its feed, or the one of its protocol), a timer offers it again. Likewise
-- where the session was just connected and has not subscribed: nobody would hear the request. One that is silent about it for a
-- second (a resumed session, on some brokers) is tried.
-- A vehicle that is away is tried once so before it is woken by SMS (absences, 'probe'): whoever was there all along gets the command.
create function settle_commands(vehicles text[], feeds text[], worker text, publishes boolean)
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
	where (h.claim_id is null or not h.reachable)
		and exists (select from commands c where c.vehicle_id = h.vehicle_id and c.id >= oldest and c.status in ('accepted', 'waiting', 'sent'));
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

-- Messages came from these vehicles: who is stored as away, for good, is there. An absence that is being verified is waited out anew
-- (at least `delay_ms` milliseconds): the message may be from before it, and is a sign of life all the same.
create function prove(vehicles text[], delay_ms integer) returns void language plpgsql as $$
begin
	-- most are known to be there, and the plan below need not be set up for them
	if not exists (select from unnest(vehicles) as i(vehicle_id) join vehicle_heads h on h.vehicle_id = i.vehicle_id where not h.reachable or h.verifying) then
		return;
	end if;
	with turned as materialized (
		select h.vehicle_id, h.seq as was_seq, v.fleet_id, head_turn(h, true, 'MESSAGE', true) as n
		from unnest(vehicles) as i(vehicle_id) join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
		join vehicle_heads h on h.vehicle_id = i.vehicle_id and not h.reachable
	), there as (
		update vehicle_heads h set reachable = true, since = (t.n).since, reason = (t.n).reason, seq = (t.n).seq,
			changes = (t.n).changes, unstable_until = (t.n).unstable_until, unstable_told_at = (t.n).unstable_told_at
		from turned t where h.vehicle_id = t.vehicle_id
	), prolonged as (
		update timers t set due_at = greatest(t.due_at, clock_timestamp() + make_interval(secs => delay_ms / 1000.0))
		from unnest(vehicles) as i(vehicle_id) join vehicle_heads h on h.vehicle_id = i.vehicle_id and h.verifying
		where t.kind = 'verify' and t.vehicle_id = i.vehicle_id
	)
	insert into events (vehicle_id, seq, at, type, data, fleet_id)
	select t.vehicle_id, (t.n).seq, clock_timestamp(), 'connectivity.changed', connectivity_json(t.n), t.fleet_id
	from turned t where (t.n).seq > t.was_seq;
end $$;
