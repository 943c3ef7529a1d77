-- Finds absences whose next step is due, oldest first.
select vehicle_id from absences where due_at <= now() order by due_at limit $1::int
