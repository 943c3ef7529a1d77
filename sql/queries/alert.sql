-- Tells what was noticed of vehicles, at most one of each: $1 vehicle, $2 data. The hub shows it to owners and managers alone.
select event_add(v.vehicle_id, 'security.alert', i.data::json)
from unnest($1::text[], $2::text[]) as i(vehicle_id, data) join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
