-- Finds timers of a kind ($1) that are due, oldest first.
select vehicle_id from timers where kind = $1::text and due_at <= now() order by due_at limit $2::int
