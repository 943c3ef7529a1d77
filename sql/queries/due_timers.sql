-- Finds timers of a kind ($1) that are due, or will be within $3 milliseconds, oldest first ($2: so many). By their time, whatever a plan was
-- made on: the index that has the kind would bring all that are not due yet.
select vehicle_id from timers where kind || '' = $1::text and due_at <= now() + make_interval(secs => $3::int / 1000.0) order by due_at limit $2::int
