-- Timers of a kind ($1) that were looked at.
delete from timers t using unnest($2::text[]) as i(vehicle_id)
where t.kind = $1::text and t.vehicle_id = i.vehicle_id and t.due_at <= clock_timestamp()
