-- Vehicles that are shown a notice whose time is over, at most $1.
select distinct vehicle_id from (
	select r.vehicle_id from retained r where r.expires_at <= now() and r.payload <> '' order by r.expires_at limit $1::int) r
