-- A command whose vehicle was woken as often as one absence allows waits without an SMS, and its timeline did not say why: what joined
-- later was shown the last SMS of before, as if it had gone out for it.

-- As before, but what a centre says late of an SMS goes to who waited for it alone: who joins once another is refused is told of that.
create or replace function wake_note(vehicle text, detail jsonb) returns void language sql as $$
	with noted as (
		update commands c set timeline = c.timeline || step('wakeup', detail)
		from wake_wanted n
		where n.vehicle_id = vehicle and n.status = 'waiting' and c.vehicle_id = n.vehicle_id and c.id = n.id
		returning c.accepted_seq
	)
	update absences a set step = case when a.refused is null or detail->>'status' = 'refused' then detail else a.step end,
		seen_seq = greatest(a.seen_seq, (select max(accepted_seq) from noted))
	where a.vehicle_id = vehicle $$;

-- As before, and the end of the attempts is a refusal like that of a vehicle without a number: told by timelines alone.
create or replace function wake_step(vehicles text[], ids uuid[], policy json)
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
	is_over boolean;
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
		if last_expiry is null then
			update absences x set phase = 'ready', due_at = null where x.vehicle_id = r.vehicle_id;
			continue;
		end if;
		is_over := a.provider = 0 and a.attempt >= (policy->>'max_attempts')::integer;
		select max(w.created_at) into last_sms from wakeups w where w.vehicle_id = r.vehicle_id and w.status <> 'refused';
		if a.provider = 0 and not is_over and last_sms + wake_gap(policy_ms(policy, 'min_interval_ms'), a.rounds) > clock_timestamp() then
			update absences x set phase = 'ready', due_at = last_sms + wake_gap(policy_ms(policy, 'min_interval_ms'), a.rounds)
			where x.vehicle_id = r.vehicle_id;
			continue;
		end if;
		why := case when is_over then 'ATTEMPTS' else wake_refusal(r.vehicle_id, policy) end;
		if why is not null then
			update absences x set phase = 'ready', refused = why, due_at = wake_refused_until(r.vehicle_id, why) where x.vehicle_id = r.vehicle_id;
			continue when a.refused is not distinct from why;
			if why in ('NO_MSISDN', 'ATTEMPTS') then
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
