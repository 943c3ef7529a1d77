-- Applies vehicles' answers, at most one of a vehicle. A row for each: its number, applied, the command's status
-- (null: unknown), and whether it repeats the answer that was kept: a result that it leaves out is that of its progress.
select a.n, a.applied, a.status,
	not a.applied and exists (select from commands c where c.vehicle_id = a.vehicle_id and c.id = a.id and c.status::text = a.event
		and (a.result is null or c.result::jsonb = a.result::jsonb) and c.reason::jsonb is not distinct from a.reason::jsonb
		and (a.sealed_result is null or c.sealed_result = a.sealed_result)) as repeated
from rows from (command_apply(null, $1::text[], $2::uuid[], $3::text[], $4::json[], $5::json[], $6::text[], $7::jsonb[]),
	unnest($1::text[], $2::uuid[], $3::text[], $4::json[], $5::json[], $6::text[]))
	as a(n, applied, status, vehicle_id, id, event, reason, result, sealed_result)
order by a.n
