-- Applies vehicles' answers, at most one of a vehicle. A row for each: its number, applied, the command's status
-- (null: unknown), and whether it repeats the answer that was kept.
select a.n, a.applied, a.status,
	not a.applied and a.status::text = i.event and c.result::jsonb is not distinct from i.result::jsonb
		and c.reason::jsonb is not distinct from i.reason::jsonb and c.sealed_result is not distinct from i.sealed_result as repeated
from command_apply(null, $1::text[], $2::uuid[], $3::text[], $4::json[], $5::json[], $6::text[], $7::jsonb[]) a
join unnest($1::text[], $2::uuid[], $3::text[], $4::json[], $5::json[], $6::text[]) with ordinality
	as i(vehicle_id, id, event, reason, result, sealed_result, n) on i.n = a.n
left join commands c on not a.applied and c.vehicle_id = i.vehicle_id and c.id = i.id
order by a.n
