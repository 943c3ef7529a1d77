-- $1 subject, $2 admin, $3 database.synchronous, $4 vehicle: its rank for the subject (0: not to be seen), the body, no
-- cursor, and the version of its desired state.
select case when $2::bool then 3 else grant_rank($1::text, v.vehicle_id, v.fleet_id) end,
	vehicle_json(v, h, $2::bool or is_manager($1::text, v.fleet_id), history_epoch($3::bool)), null::text, v.desired_version
from vehicles v join vehicle_heads h on h.vehicle_id = v.vehicle_id
where v.vehicle_id = $4::text and v.retired_at is null
