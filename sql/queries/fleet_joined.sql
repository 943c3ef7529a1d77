-- Where a vehicle ($1) had come to when it came into a fleet ($2; '*': when it was registered); where the log no longer says so, where it is.
select coalesce(case when $2::text = '*'
		then (select min(e.seq) from events e where e.vehicle_id = h.vehicle_id and e.at >= v.created_at)
		else (select max(e.seq) from events e where e.vehicle_id = h.vehicle_id and e.type = 'vehicle.moved' and e.fleet_id = $2::text) end - 1,
	h.seq), h.seq, v.fleet_id
from vehicle_heads h join vehicles v on v.vehicle_id = h.vehicle_id where h.vehicle_id = $1::text
