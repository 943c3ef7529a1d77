-- An erasure that is whole: what was under way while it was asked for is erased with the rest, what a batch sends later names
-- nobody, and what waits is not waited for (docs/access.md).

alter table erasures
	add column asked_at timestamptz not null default clock_timestamp(),
	add column until xid8,                             -- who began later has seen the erasure; null: not looked at yet
	add column settled boolean not null default false; -- they are over, and `at` is when that was seen
-- Those of before have gone on from their own moment.
update erasures set asked_at = at, settled = true;

-- What is in no vehicle's history: grants end as those whose time is over do, the keys of requests and the webhooks go, and the
-- audit table's rows name nobody. Heads and fleets are locked in the order of everybody else.
create function subject_forget(whom text, asked_at timestamptz) returns void language plpgsql as $$
begin
	perform from vehicle_heads h where h.vehicle_id in (
		select g.object_id from grants g where g.object_kind = 'vehicle' and whom in (g.subject, g.granted_by)) order by h.vehicle_id for update;
	perform from fleets f where f.fleet_id in (
		select g.object_id from grants g where g.object_kind = 'fleet' and whom in (g.subject, g.granted_by)) order by f.fleet_id for update;
	update grants g set expires_at = clock_timestamp()
	where g.subject = whom and g.created_at <= subject_forget.asked_at and (g.expires_at is null or g.expires_at > clock_timestamp());
	update grants g set granted_by = 'erased' where g.granted_by = whom;
	delete from idempotency k where k.subject = whom and k.created_at <= subject_forget.asked_at;
	delete from webhooks w where w.subject = whom;
	delete from actors a where a.subject = whom;
end $$;

create or replace function subject_erase(whom text, asker text, whence text) returns void language plpgsql as $$
declare
	known uuid := actor(whom, null);
	asked timestamptz := clock_timestamp();
begin
	insert into erasures as e (subject, at, asked_at) values (whom, asked, asked) -- before the heads, as erasures_look() has it
	on conflict (subject) do update set at = asked, asked_at = asked, until = null, settled = false, passed = '', remains = false, due_at = asked;
	insert into audit (who, action, allowed, detail) values (actor(asker, whence), 'subject.erase', true, json_build_object('whom', known));
	perform subject_forget(whom, asked);
end $$;

-- Batches that somebody began or ended. Whoever feeds one, or takes back what it has not sent, has the name in its memory: the lease is
-- taken from them, and who takes it next reads it as it is by then. Without the right to any of its vehicles it has nothing more to do.
create function batches_erase(whom text) returns void language plpgsql as $$
declare
	b batches;
begin
	for b in select * from batches o where o.issued_by = whom or o.reason->>'by' = whom order by o.id loop
		perform from leases l where l.name = 'batch/' || b.id for update; -- before the batch, as batch_end() has it
		if b.issued_by = whom and not b.admin then
			perform batch_end(b.id, 'canceled', '{"code": "ACCESS_REVOKED"}');
		end if;
		update batches o set issued_by = case when o.issued_by = whom then 'erased' else o.issued_by end, reason = reason_erased(o.reason, whom)
		where o.id = b.id;
		update leases l set holder = null, expires_at = null, epoch = l.epoch + 1 where l.name = 'batch/' || b.id;
	end loop;
end $$;

-- As before, but what is not sent keeps its name only so long as it may yet be taken back by it (`is_over`: it may not any more).
drop function commands_erase(text[], text, timestamptz);
create function commands_erase(vehicles text[], whom text, until timestamptz, is_over boolean) returns boolean language plpgsql as $$
begin
	update commands c set
		issued_by = case when c.issued_by = whom then 'erased' else c.issued_by end,
		reason = reason_erased(c.reason, whom),
		timeline = coalesce((select jsonb_agg(case when s.item->'detail'->>'by' = whom then jsonb_set(s.item, '{detail,by}', '"erased"') else s.item end order by s.n)
			from jsonb_array_elements(c.timeline) with ordinality as s(item, n)), '[]')
	where c.vehicle_id = any(vehicles) and c.created_at <= until
		and (c.issued_by = whom or c.reason->>'by' = whom
		  or c.timeline @> jsonb_build_array(jsonb_build_object('detail', jsonb_build_object('by', whom))))
		and (is_over or not (c.status in ('accepted', 'waiting') and c.flight in ('none', 'claimed')));
	return exists (select from commands c where c.vehicle_id = any(vehicles) and c.created_at <= until and c.issued_by = whom);
end $$;

-- One step of an erasure that is due and that nobody else has in hand. First all are waited for who may not have seen it, and
-- what they left goes; then, once its rights have ended (or a minute later), vehicle after vehicle, `most` in a step.
-- Whether there is more to do at once.
create or replace function erasures_look(most integer) returns boolean language plpgsql as $$
declare
	e erasures;
	vehicles text[];
	is_left boolean;
	has_rights boolean;
	pause constant interval := '100 milliseconds';
	minute constant interval := '1 minute'; -- longer than any transaction of a node
begin
	select * into e from erasures o where o.due_at <= clock_timestamp() order by o.due_at limit 1 for update skip locked;
	if not found then
		return false;
	elsif e.until is null and not e.settled then
		update erasures o set until = pg_snapshot_xmax(pg_current_snapshot()), due_at = clock_timestamp() + pause where o.subject = e.subject;
		return false;
	elsif not e.settled then
		if e.until <= pg_snapshot_xmin(pg_current_snapshot()) or e.asked_at < clock_timestamp() - minute then
			perform batches_erase(e.subject);
			perform subject_forget(e.subject, e.asked_at);
			update erasures o set settled = true, at = clock_timestamp() where o.subject = e.subject;
			return true;
		end if;
		update erasures o set due_at = clock_timestamp() + pause where o.subject = e.subject;
		return false;
	end if;
	has_rights := exists (select from grants g where g.subject = e.subject and g.created_at <= e.asked_at)
		or exists (select from revocations r where r.subject = e.subject);
	if has_rights and e.passed = '' and e.at > clock_timestamp() - minute then
		update erasures o set due_at = clock_timestamp() + pause where o.subject = e.subject;
		return false;
	end if;
	select array_agg(h.vehicle_id) into vehicles
	from (select h.vehicle_id from vehicle_heads h where h.vehicle_id > e.passed order by h.vehicle_id limit most for update) h;
	if vehicles is not null then
		is_left := commands_erase(vehicles, e.subject, e.at, not has_rights);
		perform events_erase(vehicles, e.subject, e.at);
		update erasures o set passed = (select max(v collate "C") from unnest(vehicles) v), remains = e.remains or is_left where o.subject = e.subject;
		return true;
	elsif e.remains or has_rights then -- the older it is the longer what is left may take
		update erasures o set passed = '', remains = false,
			due_at = clock_timestamp() + greatest(interval '2 seconds', least(interval '1 hour', clock_timestamp() - e.at))
		where o.subject = e.subject;
	else
		delete from erasures o where o.subject = e.subject;
	end if;
	return false;
end $$;
