-- The vehicle as a twin, notices, and what the broker is to keep of both (docs/vehicles.md).

-- ── what the broker keeps ────────────────────────────────────────────────────

-- The retained messages as they are to be: desired state, notices, and whom the broker shuts out. Written under the vehicle's
-- head's lock with what it follows from; one worker at a time tells the broker (gateway/retained.c).
create table retained (
	vehicle_id   text collate "C" not null,
	kind         text not null check (kind in ('blocked', 'desired', 'notice')),
	name         text collate "C" not null default '', -- of a notice
	payload      text not null,                 -- empty: the broker keeps nothing
	content_type text,
	expires_at   timestamptz,
	version      bigint not null,               -- rises with every change
	changed_at   timestamptz not null default clock_timestamp(),
	published    bigint not null default 0,     -- the version that the broker has acknowledged
	mark         bigint not null default 0,     -- a broker that has this mark, or a later one, still has it
	primary key (vehicle_id, kind, name)
) with (fillfactor = 70);
create index retained_due on retained (changed_at) where published < version;
create index retained_expiry on retained (expires_at) where expires_at is not null and payload <> '';

-- The mark that the broker was told last; what was acknowledged since belongs to the next one.
alter table meta add column retained_mark bigint not null default 0;

-- Sets one message; false: it is so already. `at_least` is the least version that it may get.
create function retain(vehicle text, what text, which text, body text, media text default null, until timestamptz default null,
                       at_least bigint default 1) returns boolean language plpgsql as $$
begin
	insert into retained as r (vehicle_id, kind, name, payload, content_type, expires_at, version)
	select vehicle, what, which, body, media, until, at_least
	where body <> '' or exists (select from retained e where e.vehicle_id = vehicle and e.kind = what and e.name = which)
	on conflict (vehicle_id, kind, name) do update set payload = excluded.payload, content_type = excluded.content_type,
		expires_at = excluded.expires_at, version = greatest(r.version + 1, at_least), changed_at = clock_timestamp()
	where (r.payload, r.content_type, r.expires_at) is distinct from (excluded.payload, excluded.content_type, excluded.expires_at);
	return found;
end $$;

insert into retained (vehicle_id, kind, payload, version)
select b.vehicle_id, 'blocked', case when b.blocked then '1' else '' end, b.version from blocks b;
drop table blocks;

create or replace function vehicle_block(vehicle text, shut_out boolean) returns void language sql as
$$ select retain(vehicle, 'blocked', '', case when shut_out then '1' else '' end) $$;

-- A database that was restored must not speak to vehicles in versions that they have seen already: they would not listen.
create function versions_leap() returns trigger language plpgsql as $$
begin
	update vehicles v set desired_version = v.desired_version + 1000000 where v.desired_version > 0;
	update retained r set version = r.version + 1000000, published = 0;
	return null;
end $$;
create trigger meta_new_epoch after update of epoch on meta for each row execute function versions_leap();

-- ── the twin ─────────────────────────────────────────────────────────────────

-- What of the desired state is not yet reported; objects are compared member by member. Each level is looked at once.
create or replace function state_delta(desired jsonb, reported jsonb) returns jsonb language plpgsql immutable parallel safe as $$
declare
	delta jsonb := '{}';
	deeper jsonb;
	k text;
	v jsonb;
begin
	for k, v in select * from jsonb_each(desired) loop
		if reported -> k is not distinct from v then
			continue;
		end if;
		if jsonb_typeof(v) = 'object' and jsonb_typeof(reported -> k) = 'object' then
			deeper := state_delta(v, reported -> k);
			if deeper <> '{}' then
				delta := delta || jsonb_build_object(k, deeper);
			end if;
		else
			delta := delta || jsonb_build_object(k, v);
		end if;
	end loop;
	return delta;
end $$;

create function state_json(v vehicles) returns json language sql stable as $$
	select json_build_object('reported', v.reported, 'desired', v.desired,
		'delta', case when v.desired = '{}' then '{}' else state_delta(v.desired, v.reported) end,
		'reported_version', v.reported_version, 'desired_version', v.desired_version) $$;

-- What the vehicle is to be told of its desired state from now on: the difference, or nothing any more.
create function desired_retain(vehicle text, desired jsonb, reported jsonb, at_least bigint default 1) returns boolean language plpgsql as $$
declare
	delta constant jsonb := state_delta(desired, reported);
begin
	return retain(vehicle, 'desired', '', case when delta = '{}' then '' else delta::text end, at_least => at_least);
end $$;

-- The next version of a desired state: above that of every message that the vehicle may have seen.
create function desired_next(vehicle text, was bigint) returns bigint language plpgsql stable as $$
begin
	return 1 + greatest(was, (select r.version from retained r where r.vehicle_id = vehicle and r.kind = 'desired'));
end $$;

-- ── notices ──────────────────────────────────────────────────────────────────

-- A vehicle's, a fleet's, and those for all vehicles (fleet '*'). Where several have one name, a vehicle is shown its own, else its
-- fleet's, else the one for all.
create table notices (
	object_kind  text not null check (object_kind in ('vehicle', 'fleet')),
	object_id    text collate "C" not null,
	name         text collate "C" not null,
	payload      text not null check (payload <> ''),
	content_type text,
	expires_at   timestamptz,
	published_by text not null,
	created_at   timestamptz not null default clock_timestamp(),
	primary key (object_kind, object_id, name)
);
create index notices_expiry on notices (expires_at) where expires_at is not null;

create function notice_json(n notices) returns json language sql stable as $$
	select json_build_object('name', n.name, 'payload', n.payload, 'content_type', n.content_type, 'expires_at', rfc3339(n.expires_at),
		'scope', case when n.object_kind = 'vehicle' then 'vehicle' when n.object_id = '*' then 'all' else 'fleet' end,
		'published_by', n.published_by, 'created_at', rfc3339(n.created_at)) $$;

-- The notices that a vehicle is shown, as it should be at this moment.
create function notices_of(vehicle text, fleet text) returns setof notices language plpgsql stable as $$
begin
	return query
	select distinct on (n.name) n.* from (
		select * from notices v where v.object_kind = 'vehicle' and v.object_id = vehicle
		union all
		select * from notices f where f.object_kind = 'fleet' and f.object_id in (fleet, '*')
	) n
	where n.expires_at is null or n.expires_at > clock_timestamp()
	order by n.name, n.object_kind desc, n.object_id desc;
end $$;

-- Makes what vehicles are shown, whose heads the caller has locked, what they should be shown, and tells each change.
create function notices_settle(vehicles text[]) returns void language plpgsql set jit = off as $$
declare
	c record;
begin
	for c in
		with wanted as materialized (
			select v.vehicle_id, n.name, n.payload, n.content_type, n.expires_at
			from unnest(vehicles) as i(vehicle_id) join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
			cross join lateral notices_of(v.vehicle_id, v.fleet_id) n
		), had as materialized (
			select r.vehicle_id, r.name, r.payload, r.content_type, r.expires_at
			from unnest(vehicles) as i(vehicle_id) join retained r on r.vehicle_id = i.vehicle_id and r.kind = 'notice' and r.payload <> ''
		)
		select vehicle_id, name, w.payload, w.content_type, w.expires_at
		from wanted w full join had h using (vehicle_id, name)
		where (w.payload, w.content_type, w.expires_at) is distinct from (h.payload, h.content_type, h.expires_at)
		order by vehicle_id, name
	loop
		perform retain(c.vehicle_id, 'notice', c.name, coalesce(c.payload, ''), c.content_type, c.expires_at);
		if c.payload is null then
			perform event_add(c.vehicle_id, 'notice.withdrawn', json_build_object('name', c.name));
		else
			perform event_add(c.vehicle_id, 'notice.published', json_build_object('name', c.name, 'expires_at', rfc3339(c.expires_at)));
		end if;
	end loop;
end $$;

-- Fleets' notices that changed, and how far their vehicles have been settled.
create table notice_spreads (
	fleet_id text collate "C" not null,
	name     text collate "C" not null,
	turn     xid8 not null default pg_current_xact_id(), -- a later change begins it anew
	until    xid8,                              -- who began later has seen the change; null: not looked at yet
	after    text collate "C" not null default '', -- the last vehicle that was settled
	primary key (fleet_id, name)
);

create function notice_spread(fleet text, which text) returns void language sql as $$
	insert into notice_spreads (fleet_id, name) values (fleet, which)
	on conflict (fleet_id, name) do update set turn = excluded.turn, until = null, after = '' $$;

-- The next vehicles of each spread, `most` of one. It waits until everybody is over who may put a vehicle into the fleet without
-- having seen the notice; who comes later settles his vehicle himself.
create function notice_spreads_look(most integer) returns table (fleet_id text, name text, turn xid8, vehicle_id text) language plpgsql as $$
declare
	s notice_spreads;
begin
	for s in select * from notice_spreads o order by o.turn limit 8 for update skip locked loop
		if s.until is null then
			update notice_spreads o set until = pg_snapshot_xmax(pg_current_snapshot()) where o.fleet_id = s.fleet_id and o.name = s.name
			returning o.until into s.until;
		end if;
		if s.until > pg_snapshot_xmin(pg_current_snapshot()) then
			continue;
		end if;
		if s.fleet_id = '*' then
			return query select s.fleet_id, s.name, s.turn, v.vehicle_id from vehicles v
				where v.retired_at is null and v.vehicle_id > s.after order by v.vehicle_id limit most;
		else
			return query select s.fleet_id, s.name, s.turn, v.vehicle_id from vehicles v
				where v.retired_at is null and v.fleet_id = s.fleet_id and v.vehicle_id > s.after order by v.vehicle_id limit most;
		end if;
		if not found then
			delete from notice_spreads o where o.fleet_id = s.fleet_id and o.name = s.name;
		end if;
	end loop;
end $$;

-- ── what ends with an owner, or with the vehicle ─────────────────────────────

-- What a vehicle was told for its last owner is not for the next one.
create or replace function vehicle_forget(vehicle text) returns void language plpgsql as $$
declare
	v vehicles;
	raised bigint;
begin
	select * into v from vehicles w where w.vehicle_id = vehicle;
	if v.desired <> '{}' then
		raised := desired_next(vehicle, v.desired_version);
		update vehicles w set desired = '{}', desired_version = raised, updated_at = clock_timestamp() where w.vehicle_id = vehicle;
		perform retain(vehicle, 'desired', '', '', at_least => raised);
		perform event_add(vehicle, 'state.desired',
			json_build_object('patch', (select json_object_agg(k, null) from jsonb_object_keys(v.desired) k), 'version', raised));
	end if;
	delete from notices n where n.object_kind = 'vehicle' and n.object_id = vehicle;
	perform notices_settle(array[vehicle]);
end $$;

-- Of a vehicle that is retired nothing stays at the broker but that it is shut out. vehicle.retired tells all of it.
create function vehicle_clear(vehicle text) returns void language plpgsql as $$
begin
	delete from notices n where n.object_kind = 'vehicle' and n.object_id = vehicle;
	perform retain(r.vehicle_id, r.kind, r.name, '') from retained r where r.vehicle_id = vehicle and r.kind <> 'blocked';
end $$;
