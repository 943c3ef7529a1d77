-- The service does not come to the rights of the owner, and no notice names who was erased (docs/access.md).

-- ── what runs with the owner's rights ────────────────────────────────────────

-- As before, but what is to come is no old partition, whatever is asked for.
create or replace function partitions_drop(commands_ms bigint, events_ms bigint) returns void
	language plpgsql security definer set lock_timeout = '200ms' as $$
declare
	p record;
begin
	if not pg_try_advisory_xact_lock(hashtext('keyfob partitions')) then
		return;
	end if;
	for p in
		select c.oid::regclass as name
		from (values ('commands', interval '1 month', greatest(commands_ms * interval '1 millisecond', interval '9 days')), -- the longest life of a command: 8 days
			('events', interval '1 week', greatest(events_ms * interval '1 millisecond', interval '0'))) as k(kind, step, kept)
		join pg_inherits i on i.inhparent = k.kind::regclass
		join pg_class c on c.oid = i.inhrelid and c.relname ~ ('^' || k.kind || '_\d{8}$')
		where (to_timestamp(right(c.relname, 8), 'YYYYMMDD')::timestamp + k.step) at time zone 'UTC' < now() - k.kept
	loop
		execute format('drop table %s', p.name);
	end loop;
exception when lock_not_available then
	return;
end $$;

-- They look for tables and types among PostgreSQL's own and in the schema where they stand, and last among what their caller made for the
-- session. Where that place is not named it is the first: by a temporary table "pg_inherits" partitions_drop() dropped whatever it said, and
-- the check of a temporary type "regclass" ran as the owner. Who serves now calls them on; others of the server may not.
do $migration$
declare
	f record;
	served constant text := (select string_agg(distinct a.grantee::regrole::text, ', ') from pg_class c cross join lateral aclexplode(c.relacl) a
		where c.oid = 'events'::regclass and a.privilege_type = 'INSERT' and a.grantee not in (0, c.relowner));
begin
	for f in
		select p.oid::regprocedure as name, n.nspname as home
		from unnest(array['partitions_drop(bigint, bigint)', 'partitions_make()', 'partitions_ensure()', 'events_summarize()']::regprocedure[]) as o(oid)
		join pg_proc p on p.oid = o.oid join pg_namespace n on n.oid = p.pronamespace
	loop
		execute format('alter function %s set search_path = %I, pg_temp', f.name, f.home);
		execute format('revoke execute on function %s from public', f.name);
		if served is not null then
			execute format('grant execute on function %s to %s', f.name, served);
		end if;
	end loop;
end $migration$;

-- As before, and what runs with the owner's rights for it to call. When a row of the audit table was written the table says itself; who
-- somebody in it is can be forgotten, and not be changed; and of what a command may become nothing is written, in neither of the two tables
-- that have it. Nobody makes tables in this database by being there alone, temporary
-- ones neither: the service needs none. Who is not the database's owner cannot take that from everybody, and is warned by PostgreSQL.
create or replace function service_grant(service text) returns void language plpgsql as $$
declare
	f regprocedure;
begin
	execute format('grant usage on schema public to %I', service);
	execute format('grant select, insert, update, delete on all tables in schema public to %I', service);
	execute format('revoke insert, update, delete, truncate on audit from %I', service);
	execute format('grant insert (who, action, object, allowed, detail) on audit to %I', service);
	execute format('revoke insert, update on actors from %I', service);
	execute format('grant insert (subject, address) on actors to %I', service);
	execute format('revoke insert, update, delete on schema_migrations, lifecycle, lifecycle_paths from %I', service);
	for f in select p.oid from pg_proc p where p.prosecdef and p.pronamespace = 'public'::regnamespace loop
		execute format('grant execute on function %s to %I', f, service);
	end loop;
	execute format('revoke create on schema public from public, %I', service);
	execute format('revoke temporary on database %I from public, %I', current_database(), service);
end $$;

-- ── erasing a subject ────────────────────────────────────────────────────────

-- As before, and the notices that they published stay, as published by `erased`.
create or replace function subject_forget(whom text, asked_at timestamptz) returns void language plpgsql as $$
begin
	perform from vehicle_heads h where h.vehicle_id in (
		select g.object_id from grants g where g.object_kind = 'vehicle' and whom in (g.subject, g.granted_by)
		union all select n.object_id from notices n where n.object_kind = 'vehicle' and n.published_by = whom) order by h.vehicle_id for update;
	perform from fleets f where f.fleet_id in (
		select g.object_id from grants g where g.object_kind = 'fleet' and whom in (g.subject, g.granted_by)
		union all select n.object_id from notices n where n.object_kind = 'fleet' and n.published_by = whom) order by f.fleet_id for update;
	update grants g set expires_at = clock_timestamp()
	where g.subject = whom and g.created_at <= subject_forget.asked_at and (g.expires_at is null or g.expires_at > clock_timestamp());
	update grants g set granted_by = 'erased' where g.granted_by = whom;
	update notices n set published_by = 'erased' where n.published_by = whom;
	delete from idempotency k where k.subject = whom and k.created_at <= subject_forget.asked_at;
	delete from webhooks w where w.subject = whom;
	delete from actors a where a.subject = whom;
end $$;

-- Whoever published one has acted, and is an actor until they are erased.
update notices n set published_by = 'erased' where not exists (select from actors a where a.subject = n.published_by);
