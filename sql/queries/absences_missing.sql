-- Vehicles that are away while commands want them woken, of which nobody took note, as before there were providers; at most $1.
select distinct h.vehicle_id
from wake_wanted n join vehicle_heads h on h.vehicle_id = n.vehicle_id and not h.reachable
	join vehicles v on v.vehicle_id = h.vehicle_id and v.retired_at is null
where not exists (select from absences a where a.vehicle_id = h.vehicle_id) limit $1::int
