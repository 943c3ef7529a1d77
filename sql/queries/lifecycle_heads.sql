-- Heads for vehicles ($1) that the broker announces before they are registered.
insert into vehicle_heads (vehicle_id) select i.vehicle_id from unnest($1::text[]) as i(vehicle_id) order by i.vehicle_id
on conflict do nothing
