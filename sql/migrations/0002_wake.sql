-- Waking vehicles by SMS. Read docs/wake-up.md beside it.

-- Each submission to a provider and each refusal. 'spent': the slot is taken, the provider has not answered yet; it is told, as
-- submitted, when that becomes clear or the vehicle comes first.
create type wakeup_status as enum ('spent', 'submitted', 'delivered', 'failed', 'refused', 'answered');

create table wakeups (
	vehicle_id text collate "C" not null,
	id         uuid not null,
	status     wakeup_status not null,
	provider   text,                            -- null: refused before one was chosen
	attempt    integer not null,                -- of the absence, from 1; all providers that it goes through share it
	reason     text,
	message_id text,                            -- the provider's name for it, by which its receipts come
	created_at timestamptz not null default clock_timestamp(),
	updated_at timestamptz not null default clock_timestamp(),
	primary key (vehicle_id, id),
	check ((provider is null) = (status = 'refused'))
);
create index wakeups_recent on wakeups (vehicle_id, created_at);
create index wakeups_message on wakeups (provider, message_id) where message_id is not null;
create index wakeups_age on wakeups using brin (created_at);

-- A vehicle that is away while commands want it woken; the row goes when it is back. Changed under its head's lock alone
-- (but for wake_resume.sql, which only brings due_at forward).
create table absences (
	vehicle_id text collate "C" primary key,
	began_at   timestamptz not null default clock_timestamp(),
	phase      text not null check (phase in (
		'probe',                            -- the oldest waiting command may be claimed, as if the vehicle were there
		'probing',                          -- it was; its PUBACK is awaited
		'ready',                            -- the next submission goes out at due_at
		'submitting',                       -- its slot is spent; the provider works
		'receipt')),                        -- the network has it; its receipt is awaited
	due_at     timestamptz,                     -- when to look at it next; null: when something changes
	attempt    integer not null default 0,      -- attempts that are over
	rounds     integer not null default 0,      -- times that all providers were gone through: gaps grow with them
	provider   integer not null default 0,      -- whose turn it is in this round, from 0
	taken      boolean not null default false,  -- in this round a network took it, or may have
	failed     boolean not null default false,  -- in this round a provider failed that may take it later
	probe_id   uuid,
	wakeup_id  uuid,                            -- the submission under way, or the last one
	spent_at   timestamptz,                     -- when its slot was spent
	refused    text,                            -- why nothing goes out at the moment
	step       jsonb,                           -- the last decision, for the timelines of commands that join later
	seen_seq   bigint not null default 0        -- commands accepted up to here have it
);
create index absences_due on absences (due_at) where due_at is not null;

-- What may still reach a vehicle that is away, and wants it woken; each with at least a second to live.
create view wake_wanted as
	select c.vehicle_id, c.id, c.accepted_seq, c.status, c.expires_at
	from commands c
	where c.wake and c.id >= (select uuid7_floor(now() - interval '8 days')) and c.id < (select uuid7_floor(now() + interval '1 day'))
		and c.status in ('accepted', 'waiting', 'sent')
		and (c.status <> 'sent' and c.flight in ('none', 'claimed') or c.flight in ('out', 'claimed_out') and c.redelivery <> 'never')
		and c.expires_at >= clock_timestamp() + interval '1 second';

-- Whether a vehicle changes so often that waking it makes no sense.
create function is_unstable(h vehicle_heads) returns boolean language sql stable as
$$ select false $$;

-- Whether a vehicle that is away may be published to all the same, as a probe.
create function is_to_be_probed(vehicle text) returns boolean language plpgsql stable set enable_seqscan = off as
$$ begin return exists (select from absences a where a.vehicle_id = vehicle and a.phase = 'probe'); end $$;

-- How long after the last SMS the next may follow: min_interval, then twice as long each time.
create function wake_gap(min_interval interval, rounds integer) returns interval language sql immutable as
$$ select case when rounds = 0 then min_interval
	else greatest(min_interval, interval '1 second') * power(2, least(rounds - 1, 16)) end $$;

create function wakeup_json(u wakeups) returns jsonb language sql stable as
$$ select jsonb_build_object('id', u.id, 'status', case u.status when 'spent' then 'submitted' else u.status::text end,
	'provider', u.provider, 'attempt', u.attempt, 'reason', u.reason) $$;

-- A decision into the timeline of what waits.
create function wake_note(vehicle text, detail jsonb) returns void language sql as $$
	with noted as (
		update commands c set timeline = c.timeline || step('wakeup', detail)
		from wake_wanted n
		where n.vehicle_id = vehicle and n.status = 'waiting' and c.vehicle_id = n.vehicle_id and c.id = n.id
		returning c.accepted_seq
	)
	update absences a set step = detail, seen_seq = greatest(a.seen_seq, (select max(accepted_seq) from noted))
	where a.vehicle_id = vehicle $$;

-- What became of a wake-up, to apps and into timelines.
create function wakeup_tell(u wakeups) returns void language plpgsql as $$
begin
	perform event_add(u.vehicle_id, 'wakeup.updated', wakeup_json(u)::json);
	perform wake_note(u.vehicle_id, wakeup_json(u));
end $$;

-- ── the policy. Every function: the heads of its vehicles are locked by the caller. No sequential scans: a plan that was made
-- while absences was empty would be slow for as long as a thousand vehicles are suddenly away. `policy` is
-- {"enabled","providers":[name…],"receipts":[bool…],"receipt_timeout_ms","min_interval_ms","max_attempts","daily_budget","validity_ms"}.

create function policy_ms(policy json, name text) returns interval language sql immutable as
$$ select (policy->>name)::bigint * interval '1 millisecond' $$;

-- All providers had their turn. Where one of them may take it later and none has, the attempt goes on: the gap grows,
-- and the budget bounds it.
create function wake_round_over(vehicle text, policy json) returns void language sql as $$
	update absences a set phase = 'ready', provider = 0, taken = false, failed = false, rounds = a.rounds + 1,
		attempt = a.attempt + case when a.taken or not a.failed then 1 else 0 end,
		due_at = coalesce(a.spent_at, clock_timestamp()) + wake_gap(policy_ms(policy, 'min_interval_ms'), a.rounds + 1)
	where a.vehicle_id = vehicle $$;

-- The provider whose turn it was did not do it: the next one at once.
create function wake_next_provider(vehicle text, policy json) returns void language plpgsql as $$
begin
	update absences a set phase = 'ready', provider = a.provider + 1, due_at = clock_timestamp()
	where a.vehicle_id = vehicle and a.provider + 1 < json_array_length(policy->'providers');
	if not found then
		perform wake_round_over(vehicle, policy);
	end if;
end $$;

-- Ends every transaction, before commands are claimed: an absence begins where something wants the vehicle woken, a
-- probe's verdict is read, what joins is told, and who is back has answered. `wanted`: there are providers; `probes`: the
-- broker says when nobody is subscribed; a broker that was lost came back `back_for` ago, and a fleet may need `return_delay` to do so: who was there
-- before is not woken meanwhile. How many answered, and whether something is due now.
create function wake_settle(vehicles text[], wanted boolean, probes boolean, back_for interval, return_delay interval) returns table (answered bigint, due boolean) language plpgsql set enable_seqscan = off as $$
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
		hold := case when back_for < return_delay and r.since >= clock_timestamp() - back_for then return_delay - back_for else interval '0' end;
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

-- Why nothing goes out to a vehicle now; null: nothing speaks against it.
create function wake_refusal(vehicle text, policy json) returns text language sql stable as $$
	select case
		when v.msisdn is null then 'NO_MSISDN'
		when not (policy->>'enabled')::boolean then 'DISABLED'
		when is_unstable(h) then 'UNSTABLE'
		when (select count(*) from wakeups u where u.vehicle_id = vehicle and u.status <> 'refused'
		      and u.created_at > clock_timestamp() - interval '24 hours') >= (policy->>'daily_budget')::integer then 'BUDGET' end
	from vehicles v join vehicle_heads h on h.vehicle_id = v.vehicle_id
	where v.vehicle_id = vehicle $$;

-- When to look again at what was refused; null: when something changes.
create function wake_refused_until(vehicle text, why text) returns timestamptz language sql stable as $$
	select case why
		when 'UNSTABLE' then clock_timestamp() + interval '15 seconds'
		when 'BUDGET' then (select min(u.created_at) + interval '24 hours' from wakeups u where u.vehicle_id = vehicle
			and u.status <> 'refused' and u.created_at > clock_timestamp() - interval '24 hours') end $$;

-- Takes the next step of absences that are due, at most one of each vehicle; `ids` are for the wake-ups that it makes.
-- A row for each SMS whose slot it spent, and for each refusal that is new.
create function wake_step(vehicles text[], ids uuid[], policy json)
returns table (vehicle_id text, id uuid, refused text, provider integer, attempt integer, msisdn text, iccid text, validity_seconds integer, expires_us bigint)
language plpgsql set enable_seqscan = off as $$
#variable_conflict use_column
declare
	r record;
	a absences;
	u wakeups;
	last_expiry timestamptz;
	last_sms timestamptz;
	why text;
begin
	for r in select i.vehicle_id, i.id, h.reachable, v.msisdn, v.iccid from unnest(vehicles, ids) as i(vehicle_id, id)
		join vehicle_heads h on h.vehicle_id = i.vehicle_id join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
		order by i.vehicle_id
	loop
		select x.* into a from absences x where x.vehicle_id = r.vehicle_id and x.due_at <= clock_timestamp();
		continue when not found or r.reachable;
		if a.provider >= json_array_length(policy->'providers') then -- the configuration has become shorter
			perform wake_round_over(r.vehicle_id, policy);
			continue;
		end if;
		-- whoever spent the slot died over it: it counts as sent
		if a.phase = 'submitting' then
			update wakeups w set status = 'submitted', reason = 'UNKNOWN', updated_at = clock_timestamp()
			where w.vehicle_id = r.vehicle_id and w.id = a.wakeup_id and w.status = 'spent' returning w.* into u;
			if found then
				perform wakeup_tell(u);
			end if;
			update absences x set taken = true where x.vehicle_id = r.vehicle_id;
			perform wake_round_over(r.vehicle_id, policy);
			continue;
		end if;
		if a.phase = 'receipt' then
			perform wake_next_provider(r.vehicle_id, policy);
			select x.* into a from absences x where x.vehicle_id = r.vehicle_id;
			continue when a.due_at > clock_timestamp();
		end if;
		select max(n.expires_at) into last_expiry from wake_wanted n where n.vehicle_id = r.vehicle_id;
		if last_expiry is null or a.provider = 0 and a.attempt >= (policy->>'max_attempts')::integer then
			update absences x set phase = 'ready', due_at = null where x.vehicle_id = r.vehicle_id;
			continue;
		end if;
		select max(w.created_at) into last_sms from wakeups w where w.vehicle_id = r.vehicle_id and w.status <> 'refused';
		if a.provider = 0 and last_sms + wake_gap(policy_ms(policy, 'min_interval_ms'), a.rounds) > clock_timestamp() then
			update absences x set phase = 'ready', due_at = last_sms + wake_gap(policy_ms(policy, 'min_interval_ms'), a.rounds)
			where x.vehicle_id = r.vehicle_id;
			continue;
		end if;
		why := wake_refusal(r.vehicle_id, policy);
		if why is not null then
			update absences x set phase = 'ready', refused = why, due_at = wake_refused_until(r.vehicle_id, why) where x.vehicle_id = r.vehicle_id;
			continue when a.refused is not distinct from why;
			if why = 'NO_MSISDN' then
				perform wake_note(r.vehicle_id, jsonb_build_object('id', null, 'status', 'refused', 'provider', null, 'attempt', a.attempt + 1, 'reason', why));
			else
				insert into wakeups as w (vehicle_id, id, status, attempt, reason) values (r.vehicle_id, r.id, 'refused', a.attempt + 1, why) returning w.* into u;
				perform wakeup_tell(u);
			end if;
			return query select r.vehicle_id, r.id, why, 0, a.attempt + 1, null, null, 0, 0::bigint;
			continue;
		end if;
		insert into wakeups (vehicle_id, id, status, provider, attempt)
		values (r.vehicle_id, r.id, 'spent', policy->'providers'->>a.provider, a.attempt + 1);
		update absences x set phase = 'submitting', refused = null, wakeup_id = r.id, spent_at = clock_timestamp(),
			due_at = clock_timestamp() + interval '30 seconds'
		where x.vehicle_id = r.vehicle_id;
		return query select r.vehicle_id, r.id, null::text, a.provider, a.attempt + 1, r.msisdn, r.iccid,
			greatest(1, least((policy->>'validity_ms')::bigint / 1000, floor(extract(epoch from last_expiry - clock_timestamp()))))::integer,
			(extract(epoch from last_expiry) * 1000000)::bigint;
	end loop;
end $$;

-- What providers said of submissions, at most one of a vehicle: 'taken', 'unknown', 'failed' or 'refused'. The statuses that
-- were told.
create function wake_outcome(vehicles text[], ids uuid[], verdicts text[], messages text[], reasons text[], policy json)
returns setof text language plpgsql set enable_seqscan = off as $$
declare
	r record;
	u wakeups;
	a absences;
	receipts boolean;
begin
	for r in select * from unnest(vehicles, ids, verdicts, messages, reasons) as i(vehicle_id, id, verdict, message_id, reason) order by i.vehicle_id
	loop
		-- an outcome that comes late changes nothing any more, but its receipts may be told
		update wakeups w set message_id = r.message_id
		where w.vehicle_id = r.vehicle_id and w.id = r.id and w.status in ('submitted', 'answered');
		update wakeups w set message_id = r.message_id, reason = r.reason, updated_at = clock_timestamp(),
			status = case when r.verdict in ('taken', 'unknown') then 'submitted' else 'failed' end::wakeup_status
		where w.vehicle_id = r.vehicle_id and w.id = r.id and w.status = 'spent' returning w.* into u;
		continue when not found;
		perform wakeup_tell(u);
		return next u.status;
		update absences x set taken = x.taken or r.verdict in ('taken', 'unknown'), failed = x.failed or r.verdict = 'failed'
		where x.vehicle_id = r.vehicle_id and x.wakeup_id = r.id and x.phase = 'submitting' returning x.* into a;
		continue when not found;
		receipts := r.verdict = 'taken' and r.message_id is not null and (policy->'receipts'->>a.provider)::boolean;
		if receipts then
			update absences x set phase = 'receipt', due_at = clock_timestamp() + policy_ms(policy, 'receipt_timeout_ms')
			where x.vehicle_id = r.vehicle_id;
		elsif r.verdict in ('taken', 'unknown') then
			perform wake_round_over(r.vehicle_id, policy);
		else
			perform wake_next_provider(r.vehicle_id, policy);
		end if;
	end loop;
end $$;

-- Delivery receipts, at most one of a vehicle. The statuses that were told.
create function wake_receipt(vehicles text[], ids uuid[], delivered boolean[], reasons text[], policy json)
returns setof text language plpgsql set enable_seqscan = off as $$
declare
	r record;
	u wakeups;
begin
	for r in select * from unnest(vehicles, ids, delivered, reasons) as i(vehicle_id, id, delivered, reason) order by i.vehicle_id
	loop
		update wakeups w set status = case when r.delivered then 'delivered' else 'failed' end::wakeup_status,
			reason = r.reason, updated_at = clock_timestamp()
		where w.vehicle_id = r.vehicle_id and w.id = r.id and w.status = 'submitted' returning w.* into u;
		continue when not found;
		perform wakeup_tell(u);
		return next u.status;
		perform from absences x where x.vehicle_id = r.vehicle_id and x.wakeup_id = r.id and x.phase = 'receipt';
		continue when not found;
		if r.delivered then
			perform wake_round_over(r.vehicle_id, policy);
		else
			perform wake_next_provider(r.vehicle_id, policy);
		end if;
	end loop;
end $$;
