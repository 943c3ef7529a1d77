-- Where vehicles ($1) have come to.
select h.vehicle_id, h.seq from unnest($1::text[]) as i(vehicle_id) join vehicle_heads h on h.vehicle_id = i.vehicle_id
