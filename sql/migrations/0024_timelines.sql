-- A vehicle that says without end that it is still at it made a timeline without end, copied with each word.

-- Applies lifecycle events to commands whose vehicles' heads the caller has locked: changes what the table
-- allows, writes the events that apps see, raises the heads' seq, and keeps the head's claim equal to the
-- command's flight. `worker` is who claims (null: nobody does). A row for each input, in its order: applied,
-- and the command's status afterwards (null: no such command of this vehicle). A timeline has room for 200 steps, and for those that end it.
create or replace function command_apply(worker text, vehicles text[], ids uuid[], what text[], reasons json[], results json[], sealed text[], steps jsonb[])
returns table (n bigint, applied boolean, status command_status) language plpgsql as $$
declare
	at constant timestamptz := clock_timestamp();
	at_text text;
begin
	if cardinality(vehicles) = 0 then
		return; -- mostly nobody is away, nothing is superseded: the plan below need not be set up for it
	end if;
	at_text := rfc3339(at);
	return query
	with i as materialized (
		select * from unnest(vehicles, ids, what, reasons, results, sealed, steps)
			with ordinality as i(vehicle_id, id, event, reason, result, sealed_result, step, n)
	), hit as (
		update commands c set
			status = l.to_status,
			flight = l.to_flight,
			attempts = c.attempts + case i.event when 'claim' then 1 when 'release' then -1 when 'disprove' then -1 else 0 end,
			reason = case when l.tells then i.reason else c.reason end,
			result = coalesce(i.result, c.result),
			sealed_result = coalesce(i.sealed_result, c.sealed_result),
			late = c.late or c.status = 'timed_out' and l.to_status in ('succeeded', 'failed', 'rejected'),
			sent_at = coalesce(c.sent_at, case when l.to_status = 'sent' or l.arrives then at end),
			finished_at = case when l.to_status in ('succeeded', 'failed', 'rejected', 'expired', 'canceled') then coalesce(c.finished_at, at) end,
			due_at = case when l.to_status = c.status and l.from_flight = l.to_flight and not l.tells then c.due_at
				else command_due(l.to_status, l.to_flight, at, c.expires_at, coalesce(c.sent_at, at), c.timeout_seconds) end,
			publish_session = case when i.event = 'claim' then (select audience(h) from vehicle_heads h where h.vehicle_id = c.vehicle_id)
				when i.event not in ('release', 'lose') then c.publish_session end,
			timeline = c.timeline || case when jsonb_array_length(c.timeline) < 200 or l.to_status in ('succeeded', 'failed', 'rejected', 'expired', 'canceled', 'timed_out')
				then coalesce(i.step, '[]') else '[]' end,
			updated_at = at
		from i, lifecycle_paths l
		where c.vehicle_id = i.vehicle_id and c.id = i.id
			and l.event = i.event and l.from_status = c.status and l.from_flight = c.flight
		returning i.n, c.vehicle_id, c.id, c.status, c.flight, c.attempts, l.tells, l.arrives, c.name, c.params, c.reason, c.result, c.late, c.issued_by,
			c.timeout_seconds, c.created_at, c.expires_at, c.sent_at, c.finished_at, c.sealed_params, c.sealed_result, c.traceparent
	), placed as materialized (
		-- where the head is, so that it need not be looked up again to be changed
		select hit.*, h.seq, h.ctid as place, v.fleet_id,
			case when tells or arrives then rfc3339(hit.created_at) end as created, case when tells or arrives then rfc3339(hit.expires_at) end as expires,
			case when hit.sent_at = at then at_text when tells or arrives then rfc3339(hit.sent_at) end as sent,
			case when hit.finished_at = at then at_text when tells then rfc3339(hit.finished_at) end as finished
		from hit join vehicle_heads h on h.vehicle_id = hit.vehicle_id join vehicles v on v.vehicle_id = hit.vehicle_id
	), told as (
		insert into events (vehicle_id, seq, at, type, data, fleet_id)
		select p.vehicle_id, p.seq + row_number() over (partition by p.vehicle_id order by p.n, e.k), at, 'command.updated', e.data::json, p.fleet_id
		from placed p cross join unnest(array[
			case when p.arrives then command_text(p.id, p.vehicle_id, p.name, p.params::text, 'sent', null, null, p.late, true, p.issued_by, p.attempts,
				p.timeout_seconds, p.created, p.expires, at_text, p.sent, null, p.sealed_params, null, p.traceparent) end,
			case when p.tells then command_text(p.id, p.vehicle_id, p.name, p.params::text, p.status, p.reason::text, p.result::text, p.late,
				p.flight <> 'none' and p.status in ('accepted', 'waiting', 'sent', 'in_progress', 'timed_out'), p.issued_by, p.attempts,
				p.timeout_seconds, p.created, p.expires, at_text, p.sent, p.finished, p.sealed_params, p.sealed_result, p.traceparent) end])
			with ordinality as e(data, k)
		where e.data is not null
	), change as (
		select p.vehicle_id, p.place, sum(p.tells::integer + p.arrives::integer) as told,
			(array_agg(p.id) filter (where p.flight in ('claimed', 'claimed_out')))[1] as claimed,
			max(p.attempts) filter (where p.flight in ('claimed', 'claimed_out')) as attempt,
			array_agg(p.id) filter (where p.flight in ('none', 'out')) as unclaimed
		from placed p group by p.vehicle_id, p.place
	), raised as (
		update vehicle_heads h set
			seq = h.seq + ch.told,
			claim_id = case when ch.claimed is not null then ch.claimed when h.claim_id = any(ch.unclaimed) then null else h.claim_id end,
			claim_worker = case when ch.claimed is not null then worker when h.claim_id = any(ch.unclaimed) then null else h.claim_worker end,
			claim_attempt = case when ch.claimed is not null then ch.attempt when h.claim_id = any(ch.unclaimed) then null else h.claim_attempt end,
			claim_session = case when ch.claimed is not null then audience(h) when h.claim_id = any(ch.unclaimed) then null else h.claim_session end
		from change ch
		where h.ctid = ch.place and h.vehicle_id = ch.vehicle_id and (ch.told > 0 or ch.claimed is not null or h.claim_id = any(ch.unclaimed))
	)
	-- grouped, since as a join it would look through all hits for each input
	select u.n, bool_or(u.hit), coalesce(max(u.status), (select c.status from commands c where c.vehicle_id = u.vehicle_id and c.id = u.id))
	from (select i.n, i.vehicle_id collate "C" as vehicle_id, i.id, false as hit, null::command_status as status from i
		union all select hit.n, hit.vehicle_id, hit.id, true, hit.status from hit) u
	group by u.n, u.vehicle_id, u.id
	order by u.n;
end $$;
