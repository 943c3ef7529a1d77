-- Of persistent sessions, which keep their name (AWS IoT Core): what comes of one that counts as over, since the connect with which it goes on is late or lost.

-- As before, and whoever is there by a message alone goes with the end: it is waited out. Otherwise he would count as there until his next session.
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
		if ver > h.version then -- the connect with which the session went on is overtaken, or lost
			h.version := ver;
			h.version_at := at;
			return case when h.reachable and not h.verifying then head_end(h, ver, why) else h end;
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

-- As before, and of a session that has ended it is remembered: it goes on with what it had subscribed to.
create or replace function on_topics(h vehicle_heads, is_own boolean, is_past boolean, sess text, at timestamptz, is_on boolean) returns vehicle_heads
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
	if at < h.topics_at or h.doubted and at <= newest then
		return h;
	end if;
	h.topics_at := at;
	h.subscribed := is_on;
	if not h.linked then
		return h;
	end if;
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
