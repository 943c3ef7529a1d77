-- What the rules say of connects, of what is offered, and of what comes back unsent.

-- Once the stored session is over, a connect of the same with a greater version goes on with it, and with what it had subscribed to: a
-- persistent one of AWS keeps its name.
create or replace function on_connected(h vehicle_heads, is_own boolean, is_past boolean, sess text, ver bigint, at timestamptz) returns vehicle_heads
language plpgsql stable as $$
declare
	newest constant timestamptz := greatest(h.connected_at, h.topics_at);
	next text;
	is_subscribed boolean;
	topics_at timestamptz;
begin
	if is_past then
		return h;
	end if;
	if is_own and not h.linked then
		if ver > h.version then -- a session that the broker kept, with its subscriptions
			h.version := ver;
			h.version_at := at;
			h.connected_at := at;
			h.taken_at := clock_timestamp();
			h.linked := true;
			h.verifying := false;
			h.leaving := null;
			h.reachable := h.reachable or h.subscribed;
		end if;
		return h;
	end if;
	if is_own then
		if h.doubted and at > newest then -- told again
			h.doubted := false;
			h.verifying := false;
		end if;
		if h.connected_at is not null then
			if ver > h.version then -- it went on before its end was heard of
				h.version := ver;
				h.version_at := at;
				h.connected_at := at;
			end if;
			return h;
		end if;
		h.connected_at := at;
		if is_older(h, ver, at) then
			return head_end(h, ver, 'UNKNOWN');
		end if;
		h.version := ver;
		h.version_at := at;
		next := newer_connect(h, ver);
		return case when next is null then h else head_take(h, next) end;
	end if;
	h.early := early_put(h.early, sess, jsonb_build_object('connected', ms_of(at), 'version', ver, 'heard', ms_of(clock_timestamp())));
	if h.session is null
		or not h.linked and (ver > h.version and at >= newest - clock_skew() or at >= greatest(newest, h.version_at))
		or h.linked and h.connected_at is not null and ver > h.version and at >= newest - clock_skew()
		or h.linked and h.connected_at is null and at > newest + clock_skew()
		or h.doubted and at > newest
		or at > coalesce(h.connected_at, h.topics_at) + interval '1 hour' + clock_skew() then
		-- on a broker with one clock a later subscription was this one's, whatever session it was put down to
		is_subscribed := sess like '@%' and h.subscribed and h.topics_at >= at;
		topics_at := h.topics_at;
		h := head_take(h, sess);
		if is_subscribed then
			h.subscribed := true;
			h.topics_at := topics_at;
		end if;
	elsif is_older(h, ver, at) or h.connected_at is not null and at <= newest or at < newest - clock_skew() then
		h := head_drop(h, sess);
	elsif has_left(h) then
		h := head_leave(h, h.topics_at);
	end if;
	return h;
end $$;
create or replace function on_disconnected(h vehicle_heads, is_own boolean, is_past boolean, sess text, ver bigint, at timestamptz, why text) returns vehicle_heads
language plpgsql stable as $$
declare
	begun constant timestamptz := coalesce(h.connected_at, h.topics_at);
	is_newer boolean;
begin
	-- the end of one that was taken over is told after the taker's connect
	at := at - case when why = 'DUPLICATE_CLIENTID' then interval '10 seconds' else interval '0' end;
	if is_past then
		return h;
	end if;
	if is_own and not h.linked then
		if ver > h.version then -- it overtook the connect with which the session went on
			h.version := ver;
			h.version_at := at;
		end if;
		return h;
	end if;
	if is_own and ver < h.version and h.version_at = h.connected_at then
		return h; -- the version is this session's own: what ended is what it has gone on from
	end if;
	if is_own then
		-- a take-over from before what is known already is no news of a taker
		if is_older(h, ver, at) then
			return head_end(h, ver, 'UNKNOWN');
		end if;
		h.version := ver;
		h.version_at := coalesce(h.connected_at, at);
		return head_end(h, ver, why);
	end if;
	is_newer := ver > coalesce(h.version, -1) and at >= coalesce(begun, at) - clock_skew();
	if is_newer and h.linked and h.connected_at is null and at <= begun + clock_skew() then
		-- newer than what is known; than the stored session too? Its connect or its end will say so
		h.version := ver;
		h.version_at := at;
	elsif is_newer or at > begun + interval '1 hour' + clock_skew() then
		-- it overtook its connect
		h.early := nullif(h.early - sess, '{}');
		h := head_take(h, sess);
		h.version := ver;
		h.version_at := at;
		h.topics_at := at;
		return head_end(h, ver, why);
	end if;
	if (not h.linked or h.connected_at is null) and at > h.version_at + clock_skew() then -- and so of after an hour offline
		h.version := ver;
		h.version_at := at;
	end if;
	return head_drop(h, sess);
end $$;

-- Ends every transaction, when absences are settled. A vehicle that is away has only waiting commands; of each reachable one whose
-- head has no claim, the oldest unsent command is claimed for this worker, and returned to be published. Where it cannot publish
-- (`publishes` false), or nobody would hear the answer yet (on its feed, or the one of its protocol), a timer offers it again. Likewise
-- where the session was just connected and has not subscribed: nobody would hear the request. One that is silent about it for a
-- second (a resumed session, on some brokers) is tried.
-- A vehicle that is away is tried once so before it is woken by SMS (absences, 'probe'): whoever was there all along gets the command.
-- With less than half a second left nothing is offered (dispatch.c has it too), nor what is from before a retirement. What was sent to a session is not
-- offered to it again for having unsubscribed.
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
		join vehicles v on v.vehicle_id = h.vehicle_id and v.retired_at is null
		join leases f on f.name = 'feed/' || case v.protocol when 'keyfob' then i.feed else v.protocol end
		cross join lateral (
			select c.id, c.name, c.params, c.sealed_params, c.created_at, c.expires_at, c.attempts, c.traceparent
			from commands c
			where c.vehicle_id = h.vehicle_id and c.id >= oldest and c.created_at >= v.created_at
				and c.status in ('accepted', 'waiting', 'sent') and c.expires_at >= clock_timestamp() + interval '500 milliseconds'
				and (c.flight = 'none'
				  or c.flight = 'out' and c.redelivery <> 'never'
				     and (c.status <> 'sent' or c.publish_session is distinct from audience(h) and c.publish_session is distinct from h.session))
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

-- Of vehicles where a claim was taken back: what came back unsent and was superseded meanwhile by a command that is still open, and what
-- is from before the vehicle was retired.
create function take_back(vehicles text[]) returns bigint language plpgsql as $$
declare
	oldest constant uuid := uuid7_floor(now() - interval '8 days');
	their_vehicles text[];
	ids uuid[];
	reasons json[];
begin
	select array_agg(o.vehicle_id order by o.vehicle_id, o.accepted_seq), array_agg(o.id order by o.vehicle_id, o.accepted_seq),
		array_agg(o.reason order by o.vehicle_id, o.accepted_seq)
	into their_vehicles, ids, reasons
	from (
		select c.vehicle_id, c.id, c.accepted_seq, case when v.retired_at is not null or c.created_at < v.created_at then json_build_object('code', 'ACCESS_REVOKED')
			else (select json_build_object('code', 'SUPERSEDED', 'by', n.id) from commands n
				where n.vehicle_id = c.vehicle_id and n.id >= oldest and n.status in ('accepted', 'waiting', 'sent')
					and n.accepted_seq > c.accepted_seq and (n.catalog->'supersedes')::jsonb ? c.name
				order by n.accepted_seq limit 1) end as reason
		from unnest(vehicles) as i(vehicle_id)
		join vehicles v on v.vehicle_id = i.vehicle_id
		join commands c on c.vehicle_id = i.vehicle_id and c.id >= oldest and c.status in ('accepted', 'waiting') and c.flight = 'none'
		offset 0
	) o
	where o.reason is not null;
	if ids is null then
		return 0;
	end if;
	return (select count(*) filter (where a.applied) from command_apply(null, their_vehicles, ids,
		array_fill('cancel'::text, array[cardinality(ids)]), reasons,
		array_fill(null::json, array[cardinality(ids)]), array_fill(null::text, array[cardinality(ids)]),
		array(select step('canceled', r.reason::jsonb) from unnest(reasons) with ordinality as r(reason, n) order by r.n)) a);
end $$;

-- A node's sessions have no sequential scans anyway (sql/unit.c). To set it once more took as long as what these look for, at the end of each
-- transaction.
alter function wake_settle(text[], boolean, boolean, interval, interval, interval) reset enable_seqscan;
alter function is_to_be_probed(text) reset enable_seqscan;
