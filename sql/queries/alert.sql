-- Tells what was noticed of vehicles, at most one of each: $1 vehicle, $2 type, $3 data. The hub shows it to whom it concerns alone.
select event_add(v.vehicle_id, i.type, i.data::json)
from unnest($1::text[], $2::text[], $3::text[]) as i(vehicle_id, type, data) join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
