-- Timers of a kind ($1) of vehicles that are looked at in this transaction, due or not.
delete from timers t where t.kind = $1::text and t.vehicle_id = any($2::text[])
