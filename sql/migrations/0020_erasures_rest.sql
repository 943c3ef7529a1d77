-- An erasure whose step fails rests, longer each time, and others go on meanwhile; and nobody is called what is written for who was
-- erased (docs/access.md).

alter table erasures add column failures integer not null default 0; -- one after the other

-- One step of an erasure, whose row the caller has locked; `due_at` says when the next one is due, and a row that is gone that there is none.
-- First all are waited for who may not have seen it, and what they left goes; then, once its rights have ended (or a minute later),
-- vehicle after vehicle, `most` in a step.
create function erasure_step(e erasures, most integer) returns void language plpgsql as $$
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

-- One step of the erasure that has been due for longest and that nobody else has in hand; so they take turns. `more`: another is
-- due at once; `failed`: why this step was taken back (SQLSTATE), else null. It is tried again in a second, then two, at last in an hour.
create function erasures_step(most integer, out more boolean, out failed text) language plpgsql as $$
declare
	e erasures;
begin
	select * into e from erasures o where o.due_at <= clock_timestamp() order by o.due_at limit 1 for update skip locked;
	more := found;
	if not found then
		return;
	end if;
	begin
		perform erasure_step(e, most);
		update erasures o set failures = 0 where o.subject = e.subject and o.failures > 0;
	exception when others or query_canceled then -- by a statement_timeout of the operator's
		failed := sqlstate;
		raise log 'a step of an erasure failed: %', sqlerrm;
		update erasures o set failures = o.failures + 1,
			due_at = clock_timestamp() + least(interval '1 hour', interval '1 second' * 2 ^ least(o.failures, 12))
		where o.subject = e.subject;
	end;
	perform from erasures o where o.due_at <= clock_timestamp() limit 1 for update skip locked;
	more := found;
end $$;

-- For nodes of the version before.
create or replace function erasures_look(most integer) returns boolean language sql as $$ select s.more from erasures_step(most) s $$;

-- Whoever had that name as their own lets go of it: no token is good for it any more. Its erasure would find itself for ever.
delete from erasures where subject = 'erased';
select subject_forget('erased', clock_timestamp());
