-- Finds absences whose next step is due, oldest first.
select vehicle_id from absences where due_at <= clock_timestamp() order by due_at limit $1::int
