-- This worker ($2) has no more subscribers for these vehicles ($1).
delete from interest t using unnest($1::text[]) as i(vehicle_id)
where t.kind = 'vehicle' and t.key = i.vehicle_id and t.worker = $2::text
