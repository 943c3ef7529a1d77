-- What somebody left is taken out in parts, however much it is: no statement outlives its time (docs/access.md).

-- As subject_forget() before, but of the keys of their requests, and of what they granted to others or published, at most so many rows of each
-- (`most`). All heads first, in one order: whose right ends is not the only one who is locked. Whether there was anything, and so whether heads are
-- locked now: whoever wants others waits for the next step. A plan outlives what it
-- was made for, an empty table: so arrays name the heads, and each row is changed by its key.
create function subject_forget_part(whom text, asked_at timestamptz, most integer) returns boolean language plpgsql as $$
declare
	granted grants[] := array(select g from grants g where g.granted_by = whom limit most);
	published notices[] := array(select n from notices n where n.published_by = whom limit most);
	own grants[] := array(select g from grants g where g.subject = whom and g.created_at <= subject_forget_part.asked_at
		and (g.expires_at is null or g.expires_at > clock_timestamp()) limit most);
	vehicles text[] := array(select distinct o.object_id from unnest(own || granted) o where o.object_kind = 'vehicle'
		union select n.object_id from unnest(published) n where n.object_kind = 'vehicle');
	of_fleets text[] := array(select distinct o.object_id from unnest(own || granted) o where o.object_kind = 'fleet'
		union select n.object_id from unnest(published) n where n.object_kind = 'fleet');
	by_them grants;
	of_them notices;
	theirs grants;
	keys bigint;
begin
	perform from vehicle_heads h where h.vehicle_id = any(vehicles) order by h.vehicle_id for update;
	perform from fleets f where f.fleet_id = any(of_fleets) order by f.fleet_id for update;
	foreach theirs in array own loop
		update grants g set expires_at = clock_timestamp()
		where g.object_kind = theirs.object_kind and g.object_id = theirs.object_id and g.subject = whom
			and g.created_at <= subject_forget_part.asked_at and (g.expires_at is null or g.expires_at > clock_timestamp());
	end loop;
	foreach by_them in array granted loop
		update grants g set granted_by = 'erased'
		where g.object_kind = by_them.object_kind and g.object_id = by_them.object_id and g.subject = by_them.subject and g.granted_by = whom;
	end loop;
	foreach of_them in array published loop
		update notices n set published_by = 'erased'
		where n.object_kind = of_them.object_kind and n.object_id = of_them.object_id and n.name = of_them.name and n.published_by = whom;
	end loop;
	delete from idempotency k where k.ctid = any(array(
		select i.ctid from idempotency i where i.subject = whom and i.created_at <= subject_forget_part.asked_at limit most for update));
	get diagnostics keys = row_count;
	return cardinality(own) + cardinality(granted) + cardinality(published) + keys > 0;
end $$;

-- As before, but what is much of it is left to the erasure's steps.
create or replace function subject_forget(whom text, asked_at timestamptz) returns void language plpgsql as $$
begin
	perform subject_forget_part(whom, asked_at, 2000);
	delete from webhooks w where w.subject = whom;
	delete from actors a where a.subject = whom;
end $$;

-- As before, and ahead of the vehicles goes what subject_forget() left.
create or replace function erasure_step(e erasures, most integer) returns void language plpgsql as $$
declare
	vehicles text[];
	is_left boolean;
	has_rights boolean;
	pause constant interval := '100 milliseconds';
	minute constant interval := '1 minute'; -- longer than any transaction of a node
begin
	if not e.settled then
		if e.until is null then
			update erasures o set until = pg_snapshot_xmax(pg_current_snapshot()), due_at = clock_timestamp() + pause where o.subject = e.subject;
		elsif e.until <= pg_snapshot_xmin(pg_current_snapshot()) or e.asked_at < clock_timestamp() - minute then
			perform batches_erase(e.subject);
			perform subject_forget(e.subject, e.asked_at);
			update erasures o set settled = true, at = clock_timestamp(), due_at = clock_timestamp() where o.subject = e.subject;
		else
			update erasures o set due_at = clock_timestamp() + pause where o.subject = e.subject;
		end if;
		return;
	end if;
	if e.until is not null then -- until nothing is left, and in steps of their own: they lock heads
		if subject_forget_part(e.subject, e.asked_at, 2000) then
			update erasures o set due_at = clock_timestamp() where o.subject = e.subject;
			return;
		end if;
		update erasures o set until = null where o.subject = e.subject;
	end if;
	has_rights := exists (select from grants g where g.subject = e.subject and g.created_at <= e.asked_at)
		or exists (select from revocations r where r.subject = e.subject);
	if has_rights and e.passed = '' and e.at > clock_timestamp() - minute then
		update erasures o set due_at = clock_timestamp() + pause where o.subject = e.subject;
		return;
	end if;
	select array_agg(h.vehicle_id) into vehicles
	from (select h.vehicle_id from vehicle_heads h where h.vehicle_id > e.passed order by h.vehicle_id limit most for update) h;
	if vehicles is not null then
		is_left := commands_erase(vehicles, e.subject, e.at, not has_rights);
		perform events_erase(vehicles, e.subject, e.at);
		update erasures o set passed = (select max(v collate "C") from unnest(vehicles) v), remains = e.remains or is_left, due_at = clock_timestamp()
		where o.subject = e.subject;
	elsif e.remains or has_rights then -- the older it is the longer what is left may take
		update erasures o set passed = '', remains = false,
			due_at = clock_timestamp() + greatest(interval '2 seconds', least(interval '1 hour', clock_timestamp() - e.at))
		where o.subject = e.subject;
	else
		delete from erasures o where o.subject = e.subject;
	end if;
end $$;
