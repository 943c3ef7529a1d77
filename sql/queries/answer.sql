-- Applies vehicles' answers, at most one of a vehicle. A row for each: its number, applied, the command's status
-- (null: unknown), and whether it repeats the answer that was kept.
select a.n, a.applied, a.status,
	not a.applied and exists (select from commands c where c.vehicle_id = a.vehicle_id and c.id = a.id and c.status::text = a.event
		and c.result::jsonb is not distinct from a.result::jsonb and c.reason::jsonb is not distinct from a.reason::jsonb
		and c.sealed_result is not distinct from a.sealed_result) as repeated
from rows from (command_apply(null, $1::text[], $2::uuid[], $3::text[], $4::json[], $5::json[], $6::text[], $7::jsonb[]),
	unnest($1::text[], $2::uuid[], $3::text[], $4::json[], $5::json[], $6::text[]))
	as a(n, applied, status, vehicle_id, id, event, reason, result, sealed_result)
order by a.n
