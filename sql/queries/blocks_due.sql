-- What the broker has still to be told, at most $1.
select b.vehicle_id, b.blocked, b.version from blocks b where b.published < b.version order by b.vehicle_id limit $1::int
