-- Fleets, transfer, and the end of access (docs/access.md).

-- A move is an event to the watchers of the fleet that is left, too.
alter table events add column left_fleet text collate "C";

-- Rises with every change of the fleet's grants: whoever watches compares it, should the word of it be lost.
alter table fleets add column access_version bigint not null default 0;

create index grants_expiry on grants (expires_at) where expires_at is not null;

-- Rights that ended: what their subject has not sent yet and may not send any more is taken back, until nobody can be
-- under way who still saw the old grant (revocations_look).
create table revocations (
	id          bigint generated always as identity primary key,
	object_kind text not null check (object_kind in ('vehicle', 'fleet')),
	object_id   text collate "C" not null,
	subject     text not null,
	at          timestamptz not null default clock_timestamp(),
	until       xid8                            -- who began later has seen the end; null: not looked at yet
);

-- The owners' and managers' page of the audit table.
create index audit_object on audit (object, id);

-- A vehicle's grants name vehicles, a fleet's fleets: a fleet as the outside sees it.
create function fleet_json(f fleets) returns json language sql stable as $$
	select json_build_object('fleet_id', f.fleet_id, 'title', f.title, 'created_at', rfc3339(f.created_at), 'updated_at', rfc3339(f.updated_at)) $$;

create function grant_json(g grants) returns json language sql stable as $$
	select json_build_object('subject', g.subject, 'role', g.role, 'expires_at', rfc3339(g.expires_at), 'granted_by', g.granted_by,
		'created_at', rfc3339(g.created_at)) $$;

-- What an access.changed says; `role` null: it ended.
create function access_json(subject text, role text, expires_at timestamptz) returns json language sql stable as
$$ select json_build_object('subject', subject, 'role', role, 'expires_at', rfc3339(expires_at)) $$;

-- Writes one event of a vehicle whose head the caller has locked, and raises its seq; `from_fleet` is told of it besides
-- the fleet that the vehicle is in.
drop function event_add(text, text, json);
create function event_add(vehicle text, kind text, body json, from_fleet text default null) returns bigint language plpgsql as $$
declare
	raised bigint;
begin
	update vehicle_heads h set seq = h.seq + 1 where h.vehicle_id = vehicle returning h.seq into raised;
	insert into events (vehicle_id, seq, at, type, data, fleet_id, left_fleet)
	values (vehicle, raised, clock_timestamp(), kind, body, (select v.fleet_id from vehicles v where v.vehicle_id = vehicle), from_fleet);
	return raised;
end $$;

-- Cancels what these subjects have not sent yet and may not send any more, on vehicles whose heads the caller has locked.
-- A grant that ends in the same statement is given in `kept` as the rank that its subject keeps there (null: looked up).
create function commands_revoke(vehicles text[], subjects text[], kept integer[]) returns bigint language plpgsql set jit = off as $$
declare
	unsent_vehicles text[];
	unsent_ids uuid[];
begin
	select array_agg(c.vehicle_id order by c.vehicle_id, c.accepted_seq), array_agg(c.id order by c.vehicle_id, c.accepted_seq)
	into unsent_vehicles, unsent_ids
	from unnest(vehicles, subjects, kept) as i(vehicle_id, subject, kept)
	join vehicles v on v.vehicle_id = i.vehicle_id
	join commands c on c.vehicle_id = i.vehicle_id and c.id >= (select uuid7_floor(now() - interval '8 days'))
		and c.issued_by = i.subject and c.status in ('accepted', 'waiting') and c.flight = 'none'
		and greatest(role_rank(c.catalog->>'role'), 1) > coalesce(i.kept, grant_rank(i.subject, i.vehicle_id, v.fleet_id));
	if unsent_ids is null then
		return 0;
	end if;
	return (select count(*) filter (where a.applied) from command_apply(null, unsent_vehicles, unsent_ids,
		array_fill('cancel'::text, array[cardinality(unsent_ids)]),
		array_fill(json_build_object('code', 'ACCESS_REVOKED'), array[cardinality(unsent_ids)]),
		array_fill(null::json, array[cardinality(unsent_ids)]), array_fill(null::text, array[cardinality(unsent_ids)]),
		array_fill(step('canceled', '{"code": "ACCESS_REVOKED"}'), array[cardinality(unsent_ids)])) a);
end $$;

-- The vehicles of an object ('vehicle', 'fleet') where a subject has commands in one of these flights that have not been sent and
-- that it may not send any more. Compiling such a plan takes longer than running it.
create function vehicles_to_revoke(kind text, object text, who text, flights command_flight[]) returns setof text language plpgsql stable set jit = off as $$
begin
	return query
	select v.vehicle_id from (
		select w.* from vehicles w where kind = 'vehicle' and w.vehicle_id = object and w.retired_at is null
		union all
		select w.* from vehicles w where kind = 'fleet' and w.fleet_id = object and w.retired_at is null
	) v
	where exists (select from commands c where c.vehicle_id = v.vehicle_id and c.id >= (select uuid7_floor(now() - interval '8 days'))
			and c.issued_by = who and c.status in ('accepted', 'waiting') and c.flight = any(flights)
			and greatest(role_rank(c.catalog->>'role'), 1) > grant_rank(who, v.vehicle_id, v.fleet_id));
end $$;

-- One look at the revocations that no other worker has in hand. One is over when everybody is who may have read the old grant,
-- and nothing is left to take back; what is claimed at the moment may come back unsent.
create function revocations_look(most integer) returns table (vehicle_id text, subject text) language plpgsql as $$
declare
	r revocations;
begin
	for r in select * from revocations o order by o.id for update skip locked loop
		if r.until is null then
			update revocations o set until = pg_snapshot_xmax(pg_current_snapshot()) where o.id = r.id returning o.until into r.until;
		end if;
		return query select v.vehicle_id, r.subject from vehicles_to_revoke(r.object_kind, r.object_id, r.subject, '{none}') as v(vehicle_id) limit most;
		if not found then
			delete from revocations o where o.id = r.id and r.until <= pg_snapshot_xmin(pg_current_snapshot())
				and not exists (select from vehicles_to_revoke(r.object_kind, r.object_id, r.subject, '{none, claimed}'));
		end if;
	end loop;
end $$;

-- What a vehicle was told for its last owner is not for the next one.
create function vehicle_forget(vehicle text) returns void language plpgsql as $$
declare
	was jsonb;
	raised bigint;
begin
	select v.desired into was from vehicles v where v.vehicle_id = vehicle;
	if was = '{}' then
		return;
	end if;
	update vehicles v set desired = '{}', desired_version = v.desired_version + 1, updated_at = clock_timestamp()
	where v.vehicle_id = vehicle returning v.desired_version into raised;
	perform event_add(vehicle, 'state.desired', json_build_object('patch', (select json_object_agg(k, null) from jsonb_object_keys(was) k), 'version', raised));
end $$;

-- Vehicles that the broker shuts out (retired), or no longer (registered anew), as its retained messages are to say it.
create table blocks (
	vehicle_id text collate "C" primary key,
	blocked    boolean not null,
	version    bigint not null default 1,       -- rises with every change
	published  bigint not null default 0        -- the version that the broker has acknowledged
);
create index blocks_due on blocks (vehicle_id) where published < version;

create function vehicle_block(vehicle text, shut_out boolean) returns void language sql as $$
	insert into blocks as b (vehicle_id, blocked) values (vehicle, shut_out)
	on conflict (vehicle_id) do update set blocked = excluded.blocked, version = b.version + 1 $$;

-- What the service's own role needs, where migrations are run by another that owns the schema: everything in it, but no
-- change of the schema, and of the audit table nothing but adding to it. Call it again after each migration.
create function service_grant(service text) returns void language plpgsql as $$
begin
	execute format('grant usage on schema public to %I', service);
	execute format('grant select, insert, update, delete on all tables in schema public to %I', service);
	execute format('revoke update, delete, truncate on audit from %I', service);
	execute format('revoke insert, update, delete on schema_migrations, lifecycle from %I', service);
end $$;
revoke execute on function service_grant(text) from public;
