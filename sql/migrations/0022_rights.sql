-- Rights: as they are when they are asked for. A grant's time is judged by the statement's, not by the transaction's: a transaction may
-- have waited for a vehicle's head since it began, and its statements begin behind the lock.

-- Who owns a vehicle at this instant, and until when.
create function owners(vehicle text) returns table (subject text, until timestamptz) language sql stable as $$
	select g.subject, coalesce(g.expires_at, 'infinity') from grants g
	where g.object_kind = 'vehicle' and g.object_id = vehicle and g.role = 'owner' and coalesce(g.expires_at, 'infinity') > statement_timestamp() $$;

create or replace function grant_ranks(who text, vehicle text, fleet text) returns table (rank integer) language sql stable as $$
	select greatest(
		coalesce((select role_rank(g.role) from grants g where g.object_kind = 'vehicle' and g.object_id = vehicle and g.subject = who
			and (g.expires_at is null or g.expires_at > statement_timestamp())), 0),
		coalesce((select role_rank(g.role) from grants g where g.object_kind = 'fleet' and g.object_id = fleet and g.subject = who
			and (g.expires_at is null or g.expires_at > statement_timestamp())), 0)) $$;

create or replace function is_manager(who text, fleet text) returns boolean language plpgsql stable parallel safe as $$
begin
	return exists (select from grants g where g.subject = who and g.object_kind = 'fleet' and g.object_id = fleet and g.role = 'manager'
		and (g.expires_at is null or g.expires_at > statement_timestamp()));
end $$;

-- Nothing shows what was before the vehicle's registration: one that was retired and is registered anew may be another's. What a fleet
-- is asked about without a vehicle happened in it.
create or replace function grant_since(who text, vehicle text, fleet text) returns timestamptz language sql stable parallel safe as
$$ select case when s.since is not null then greatest(s.since, (select v.created_at from vehicles v where v.vehicle_id = vehicle)) end from (
	select min(case when g.role = 'manager' then '-infinity'::timestamptz else g.created_at end) as since from grants g
	where g.subject = who and (g.expires_at is null or g.expires_at > statement_timestamp())
		and (g.object_kind = 'vehicle' and g.object_id = vehicle or g.object_kind = 'fleet' and g.object_id = fleet)) s $$;
