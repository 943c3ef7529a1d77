-- What was not sent yet by subjects whose rights ended and who may not send it any more: vehicle and subject, at most $1.
select distinct v.vehicle_id, r.subject
from revocations r
cross join lateral (
	select v.vehicle_id, v.fleet_id from vehicles v where r.object_kind = 'vehicle' and v.vehicle_id = r.object_id and v.retired_at is null
	union all
	select v.vehicle_id, v.fleet_id from vehicles v where r.object_kind = 'fleet' and v.fleet_id = r.object_id and v.retired_at is null
) v
join commands c on c.vehicle_id = v.vehicle_id and c.id >= uuid7_floor(now() - interval '8 days') and c.issued_by = r.subject
	and c.status in ('accepted', 'waiting') and c.flight = 'none'
	and greatest(role_rank(c.catalog->>'role'), 1) > grant_rank(r.subject, v.vehicle_id, v.fleet_id)
limit $1::int
