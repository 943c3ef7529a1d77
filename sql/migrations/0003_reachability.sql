-- Reachability by rules that hold in any order, and damping. Read docs/reachability.md beside it.

alter table vehicle_heads
	drop column past_sessions,
	add column past_sessions integer[] not null default '{}', -- hashtext() of sessions that are over or older, the last 32
	add column doubted boolean not null default false,        -- the session is linked, but was disproved or not named
	add column taken_at timestamptz,                          -- when the session became the stored one
	add column topics_at timestamptz,                         -- timestamp of the session's last (un)subscribe
	add column version_at timestamptz,                        -- timestamp of what brought the version
	add column early jsonb,                                   -- what came of sessions that may be newer (early_put)
	add column changes timestamptz[] not null default '{}',   -- of reachability, of the last minute
	add column unstable_until timestamptz,                    -- it changes too often; the moment at which it counts as quiet
	add column unstable_told_at timestamptz;                  -- when apps were last told of it meanwhile

-- ── sessions ─────────────────────────────────────────────────────────────────

-- Clocks of a broker's parts differ by this much at most (contract §6): what is older by more is older.
create function clock_skew() returns interval language sql immutable parallel safe as $$ select interval '4 minutes' $$;

create function head_remember(past integer[], session text) returns integer[] language sql immutable as
$$ select case when session is null or hashtext(session) = any(past) then past
	else (array_append(past, hashtext(session)))[greatest(1, cardinality(past) - 30):] end $$;

create function ms_of(at timestamptz) returns bigint language sql immutable parallel safe as
$$ select (extract(epoch from at) * 1000)::bigint $$;

create function at_ms(ms jsonb) returns timestamptz language sql immutable parallel safe as
$$ select to_timestamp(ms::bigint / 1000.0) $$;

-- Keeps what came of a session that is not the stored one and may be newer, of the eight youngest such sessions:
-- {session: {"topics": ms, "subscribed": bool, "connected": ms, "version": n, "heard": ms of our clock,
-- "seen": the same of a subscription}}. An older word about its topics changes nothing.
create function early_put(early jsonb, session text, what jsonb) returns jsonb language sql immutable as $$
	select jsonb_object_agg(e.key, e.value) from (
		select e.key, e.value
		from jsonb_each(coalesce(early, '{}') || jsonb_build_object(session, case
			when (early->session->'topics')::bigint > (what->'topics')::bigint then early->session
			else coalesce(early->session, '{}') || what end)) e
		order by greatest((e.value->'topics')::bigint, (e.value->'connected')::bigint) desc limit 8) e $$;

-- Whether a session of this version is older than what the head had heard of: a lower one is, unless the vehicle was away
-- for an hour in between.
create function is_older(h vehicle_heads, ver bigint, at timestamptz) returns boolean language sql immutable as
$$ select coalesce(ver < h.version and at <= h.version_at + clock_skew(), false) $$;

-- The newest connect that was kept and is newer than the stored session, whose own version is known by now; null: none.
-- One that is older than what has ended meanwhile is over as well.
create function newer_connect(h vehicle_heads, own bigint) returns text language sql immutable as $$
	select e.key from jsonb_each(h.early) e
	where (at_ms(e.value->'connected') > coalesce(h.connected_at, h.topics_at) + clock_skew()
			or (e.value->'version')::bigint > own and at_ms(e.value->'connected') >= coalesce(h.connected_at, h.topics_at) - clock_skew())
		and not is_older(h, (e.value->'version')::bigint, at_ms(e.value->'connected'))
	order by (e.value->'version')::bigint desc limit 1 $$;

-- A session that may be newer than the stored one, which has given up its subscription at a moment; null: none.
create function newer_session(h vehicle_heads, at timestamptz) returns text language sql immutable as $$
	select coalesce(newer_connect(h, h.version),
		(select e.key from jsonb_each(h.early) e where h.connected_at is null and e.value ? 'version' order by (e.value->'version')::bigint desc limit 1),
		(select e.key from jsonb_each(h.early) e where (e.value->'subscribed')::boolean and at_ms(e.value->'topics') > at
		 order by (e.value->'topics')::bigint desc limit 1)) $$;

-- The stored session is there and not subscribed: the vehicle is there if it is in a newer session, else that is waited out.
create function head_leave(h vehicle_heads, at timestamptz) returns vehicle_heads language plpgsql stable as $$
declare
	next constant text := newer_session(h, at);
begin
	if next is not null then
		return head_take(h, next, true);
	end if;
	if h.reachable and not h.verifying then
		h.verifying := true;
		h.leaving := 'UNSUBSCRIBED';
	end if;
	return h;
end $$;

-- The head takes up another session, with what is known of it. Where it may be the older one after all, the stored one
-- is kept beside it (`keeps`).
create function head_take(h vehicle_heads, next text, keeps boolean default false) returns vehicle_heads language plpgsql stable as $$
declare
	known constant jsonb := h.early->next;
begin
	if keeps and h.linked then
		h.early := early_put(h.early, h.session, jsonb_strip_nulls(jsonb_build_object('topics', ms_of(h.topics_at), 'subscribed', h.subscribed,
			'connected', ms_of(h.connected_at), 'version', case when h.connected_at is not null then h.version end)));
	else
		h.past_sessions := head_remember(h.past_sessions, h.session);
	end if;
	h.session := next;
	h.connected_at := at_ms(known->'connected');
	if h.connected_at is not null and not is_older(h, (known->'version')::bigint, h.connected_at) then
		h.version := (known->'version')::bigint;
		h.version_at := h.connected_at;
	end if;
	h.topics_at := at_ms(known->'topics');
	h.subscribed := coalesce((known->'subscribed')::boolean, false);
	h.linked := true;
	h.doubted := false;
	h.verifying := false;
	h.leaving := null;
	h.reachable := h.reachable or h.subscribed;
	h.taken_at := clock_timestamp();
	h.seen_at := greatest(h.seen_at, at_ms(known->'seen'));
	h.early := nullif(h.early - next, '{}');
	return case when coalesce((known->'subscribed')::boolean, true) then h else head_leave(h, h.topics_at) end;
end $$;

-- A session is over, or of no interest any more: nothing of it will count.
create function head_drop(h vehicle_heads, session text) returns vehicle_heads language plpgsql stable as $$
begin
	h.past_sessions := head_remember(h.past_sessions, session);
	h.early := nullif(h.early - session, '{}');
	return h;
end $$;

-- The stored session is over. Who has meanwhile connected or subscribed in another one is there; else the absence is
-- waited out, unless another connection took over (`why`), which will be heard of.
create function head_end(h vehicle_heads, own bigint, why text) returns vehicle_heads language plpgsql stable as $$
declare
	next text := newer_connect(h, own);
begin
	if next is null then
		select e.key into next from jsonb_each(h.early) e
		where (e.value->'subscribed')::boolean and not e.value ? 'version' and at_ms(e.value->'topics') >= coalesce(h.connected_at, h.topics_at) - clock_skew()
		order by (e.value->'topics')::bigint desc limit 1;
	end if;
	if next is not null then
		return head_take(h, next);
	end if;
	h.linked := false;
	h.doubted := false;
	h.verifying := h.reachable and why <> 'DUPLICATE_CLIENTID';
	h.leaving := case when h.verifying then why end;
	return h;
end $$;

-- Whether the stored session was told as there and not subscribed any more.
create function has_left(h vehicle_heads) returns boolean language sql immutable as
$$ select h.linked and not h.subscribed and h.topics_at is not null $$;

create function on_connected(h vehicle_heads, is_own boolean, is_past boolean, sess text, ver bigint, at timestamptz) returns vehicle_heads
language plpgsql stable as $$
declare
	newest constant timestamptz := greatest(h.connected_at, h.topics_at);
	next text;
	is_subscribed boolean;
	topics_at timestamptz;
begin
	if is_past or is_own and not h.linked then
		return h;
	end if;
	if is_own then
		if h.doubted and at > newest then -- told again
			h.doubted := false;
			h.verifying := false;
		end if;
		if h.connected_at is not null then
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

create function on_disconnected(h vehicle_heads, is_own boolean, is_past boolean, sess text, ver bigint, at timestamptz, why text) returns vehicle_heads
language plpgsql stable as $$
declare
	begun constant timestamptz := coalesce(h.connected_at, h.topics_at);
	is_newer boolean;
begin
	-- the end of one that was taken over is told after the taker's connect
	at := at - case when why = 'DUPLICATE_CLIENTID' then interval '10 seconds' else interval '0' end;
	if is_past or is_own and not h.linked then
		return h;
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

create function on_topics(h vehicle_heads, is_own boolean, is_past boolean, sess text, at timestamptz, is_on boolean) returns vehicle_heads
language plpgsql stable as $$
declare
	newest constant timestamptz := greatest(h.connected_at, h.topics_at);
begin
	if is_past or at < newest - clock_skew() and not is_own then
		return h;
	end if;
	if not is_own then
		h.early := early_put(h.early, sess, jsonb_build_object('topics', ms_of(at), 'subscribed', is_on, 'heard', ms_of(clock_timestamp()))
			|| case when is_on then jsonb_build_object('seen', ms_of(clock_timestamp())) else '{}' end);
		if is_on and (h.session is null or not h.linked and at >= greatest(newest, h.version_at) or h.doubted and at > newest) then
			return head_take(h, sess, true);
		end if;
		return case when has_left(h) then head_leave(h, h.topics_at) else h end;
	end if;
	if not h.linked or at < h.topics_at or h.doubted and at <= newest then
		return h;
	end if;
	h.topics_at := at;
	h.subscribed := is_on;
	if is_on then
		h.doubted := false;
		h.reachable := true;
		h.verifying := false;
		h.seen_at := clock_timestamp();
	else
		return head_leave(h, at);
	end if;
	return h;
end $$;

-- Where the broker names no session (EMQX's subscriptions), its one clock does: the stored one, if that had begun and not
-- ended; else one of which nothing else is known.
create function session_at(h vehicle_heads, at timestamptz) returns text language sql immutable as
$$ select case when h.linked and at >= coalesce(h.connected_at, h.topics_at) then h.session else '@' || ms_of(at) || '?' end $$;

-- One lifecycle event, by the rules of docs/reachability.md: the head as it is afterwards.
create function lifecycle_step(h vehicle_heads, kind text, sess text, ver bigint, at timestamptz, why text) returns vehicle_heads
language plpgsql stable as $$
declare
	is_own boolean;
	is_past boolean;
begin
	if sess = '' then
		sess := session_at(h, at);
		ver := case when sess = h.session then h.version else ver end;
	end if;
	is_own := h.session is not distinct from sess;
	is_past := not is_own and hashtext(sess) = any(h.past_sessions);
	return case kind
		when 'connected' then on_connected(h, is_own, is_past, sess, ver, at)
		when 'disconnected' then on_disconnected(h, is_own, is_past, sess, ver, at, coalesce(why, 'UNKNOWN'))
		when 'subscribed' then on_topics(h, is_own, is_past, sess, at, true)
		when 'unsubscribed' then on_topics(h, is_own, is_past, sess, at, false)
		else h end;
end $$;

-- The broker has named everybody, and this vehicle not as subscribed in the stored session: in a newer one, or its absence
-- is waited out.
create function head_unnamed(h vehicle_heads, asked_at timestamptz) returns vehicle_heads language plpgsql stable as $$
declare
	next text;
begin
	select e.key into next from jsonb_each(h.early) e where at_ms(e.value->'heard') >= date_trunc('milliseconds', asked_at)
	order by (e.value->'version')::bigint desc nulls last limit 1;
	if found then
		h := head_take(h, next);
	else
		h.doubted := h.linked;
	end if;
	if not h.subscribed or h.doubted or not h.linked then
		h.verifying := true;
		h.leaving := 'NOT_NAMED';
	end if;
	return h;
end $$;

-- ── damping ──────────────────────────────────────────────────────────────────

-- Whether a vehicle changes so often (more than 15 times in a minute) that waking it makes no sense.
create or replace function is_unstable(h vehicle_heads) returns boolean language sql stable as
$$ select h.unstable_until is not null $$;

-- The vehicle came or went: what is known of it now. Apps are told (seq is raised) if it is registered; while it is
-- unstable once a minute.
create function head_turn(h vehicle_heads, is_reachable boolean, why text, registered boolean) returns vehicle_heads language plpgsql stable as $$
declare
	at constant timestamptz := clock_timestamp();
	was_stable constant boolean := h.unstable_until is null;
begin
	h.reachable := is_reachable;
	h.since := at;
	h.reason := why;
	h.changes := (array(select c from unnest(h.changes) c where c > at - interval '1 minute') || at);
	if cardinality(h.changes) > 15 or not was_stable then
		h.unstable_until := at + interval '1 minute';
		h.changes := h.changes[cardinality(h.changes) - 14:];
	end if;
	if registered and (was_stable or coalesce(h.unstable_told_at <= at - interval '1 minute', true)) then
		h.seq := h.seq + 1;
		h.unstable_told_at := case when h.unstable_until is not null then at end;
	end if;
	return h;
end $$;

-- When it is to be looked whether the vehicle has become quiet.
create function head_watch() returns trigger language plpgsql as $$
begin
	insert into timers (kind, vehicle_id, due_at) values ('quiet', new.vehicle_id, new.unstable_until)
	on conflict (kind, vehicle_id) do update set due_at = excluded.due_at;
	return null;
end $$;
create trigger heads_watch after update of unstable_until on vehicle_heads for each row
	when (new.unstable_until is distinct from old.unstable_until and new.unstable_until is not null)
	execute function head_watch();

-- What apps are told of a vehicle's reachability.
create function connectivity_json(h vehicle_heads) returns json language sql stable as
$$ select json_build_object('state', case when h.reachable then 'connected' else 'disconnected' end,
	'since', rfc3339(h.since), 'reason', case when is_unstable(h) then 'UNSTABLE' else h.reason end) $$;

create or replace function vehicle_json(v vehicles, h vehicle_heads, is_manager boolean, epoch text) returns json language sql stable as $$
	select json_build_object(
		'vehicle_id', v.vehicle_id, 'display_name', v.display_name,
		'msisdn', case when is_manager then v.msisdn end, 'iccid', case when is_manager then v.iccid end,
		'fleet_id', v.fleet_id, 'tags', to_json(v.tags),
		'connectivity', jsonb_build_object('state', case when h.reachable then 'connected' else 'disconnected' end,
			'since', rfc3339(h.since), 'verifying', h.verifying, 'reason', h.reason)
			|| case when is_unstable(h) then '{"unstable": true}' else '{}' end::jsonb,
		'state', json_build_object('reported', v.reported, 'desired', v.desired, 'delta', state_delta(v.desired, v.reported)),
		'seq', h.seq, 'epoch', epoch, 'created_at', rfc3339(v.created_at), 'updated_at', rfc3339(v.updated_at)) $$;
