-- Who did what: by an id that is erased with one row (docs/access.md); and what the owners are warned of.

-- Who asked, and from where. The audit table knows them by `id` alone: without the row it names nobody.
create table actors (
	id      uuid primary key default gen_random_uuid(),
	subject text not null,
	address text not null,                      -- '': it is unknown, or they were spoken of
	since   timestamptz not null default clock_timestamp()
);
create index actors_subject on actors (subject, address);

-- The id of somebody. Two transactions that hear of them for the first time at once make two: for a unique index one would
-- wait for the other, in whatever order their batches name people.
create function actor(who text, whence text) returns uuid language plpgsql as $$
declare
	known uuid;
begin
	select a.id into known from actors a where a.subject = who and a.address = coalesce(whence, '') limit 1;
	if known is null then
		insert into actors (subject, address) values (who, coalesce(whence, '')) returning id into known;
	end if;
	return known;
end $$;

-- What the audit table keeps of a request: whoever it speaks of by their id.
create function audit_detail(body json) returns json language sql volatile as $$
	select case when body->>'subject' is null then body
		else ((body::jsonb - 'subject') || jsonb_build_object('whom', actor(body->>'subject', null)))::json end $$;
-- The same for a reader: by their name, or null where it was erased.
create function audit_told(detail json) returns json language sql stable as $$
	select case when detail->>'whom' is null then detail
		else ((detail::jsonb - 'whom') || jsonb_build_object('subject', (select a.subject from actors a where a.id = (detail->>'whom')::uuid)))::json end $$;

alter table audit disable trigger audit_append_only;
alter table audit add column who uuid;
update audit set who = actor(subject, null), detail = case when action in ('grant.put', 'grant.end', 'vehicle.transfer') then audit_detail(detail) else detail end;
alter table audit alter column who set not null, drop column subject;
alter table audit enable trigger audit_append_only;
create index audit_who on audit (who);

-- Erases what is kept of a subject: its grants end as those whose time is over do, the keys of its requests go, and the audit
-- table's rows do not name it any more. Heads and fleets are locked in the order of everybody else.
create function subject_erase(whom text, asker text, whence text) returns void language plpgsql as $$
declare
	known uuid := actor(whom, null);
begin
	perform from vehicle_heads h where h.vehicle_id in (
		select g.object_id from grants g where g.object_kind = 'vehicle' and whom in (g.subject, g.granted_by)) order by h.vehicle_id for update;
	perform from fleets f where f.fleet_id in (
		select g.object_id from grants g where g.object_kind = 'fleet' and whom in (g.subject, g.granted_by)) order by f.fleet_id for update;
	update grants g set expires_at = clock_timestamp() where g.subject = whom and (g.expires_at is null or g.expires_at > clock_timestamp());
	update grants g set granted_by = 'erased' where g.granted_by = whom;
	delete from idempotency k where k.subject = whom;
	insert into audit (who, action, allowed, detail) values (actor(asker, whence), 'subject.erase', true, json_build_object('whom', known));
	delete from actors a where a.subject = whom;
end $$;
