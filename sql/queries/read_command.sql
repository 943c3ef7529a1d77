-- $1 subject, $2 admin, $3 unused, $4 vehicle, $5 command: with its timeline; a grant shows what happened since it was made.
select case when $2::bool then 3 else grant_rank($1::text, v.vehicle_id, v.fleet_id) end,
	(select (command_json(c)::jsonb || jsonb_build_object('timeline', c.timeline))::json from commands c
	 where c.vehicle_id = v.vehicle_id and c.id = $5::uuid
		and ($2::bool or c.created_at >= grant_since($1::text, v.vehicle_id, v.fleet_id))), null::text
from vehicles v where v.vehicle_id = $4::text and v.retired_at is null and $3::bool is not null
