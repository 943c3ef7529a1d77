-- The broker has a vehicle's ($1) message of a version ($2). Where there is a newer one by now, two publishers may have crossed:
-- it is published again.
update blocks b set published = case when b.version = $2::bigint then b.version else 0 end where b.vehicle_id = $1::text
