-- Finds commands that are due, oldest first; no row is locked, the batch looks again under the heads' locks.
select vehicle_id, id from commands where due_at <= clock_timestamp() order by due_at limit $1::int
