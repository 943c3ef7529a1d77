-- Where the vehicles of a fleet ($1; '*': all) have come to.
select h.vehicle_id, h.seq, v.fleet_id
from vehicles v join vehicle_heads h on h.vehicle_id = v.vehicle_id
where v.retired_at is null and (v.fleet_id = $1::text or $1::text = '*')
