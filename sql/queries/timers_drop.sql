-- Timers of a kind ($1) that were looked at.
delete from timers t where t.kind = $1::text and t.vehicle_id = any($2::text[]) and t.due_at <= clock_timestamp()
