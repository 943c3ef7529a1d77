-- The next vehicles, at most $1 of each, to be settled for a fleet's notice that changed.
select fleet_id, name, turn::text, vehicle_id from notice_spreads_look($1::int)
