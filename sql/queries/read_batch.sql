-- $1 subject, $2 admin, $3 unused, $4 batch: its rank for the subject, which the fleet gives, the body, no cursor.
select case when $2::bool then 3 else grant_rank($1::text, null, b.fleet_id) end, batch_json(b), null::text
from batches b where b.id = $4::uuid and $3::bool is not null
