-- Revocations are over when everybody is who may have read the old grant, and nothing is left to take back; what is claimed at
-- the moment may be released.
delete from revocations r
using (select o.id from revocations o where o.until <= pg_snapshot_xmin(pg_current_snapshot()) order by o.id for update skip locked) o
where r.id = o.id and not exists (
	select from (
		select v.vehicle_id, v.fleet_id from vehicles v where r.object_kind = 'vehicle' and v.vehicle_id = r.object_id and v.retired_at is null
		union all
		select v.vehicle_id, v.fleet_id from vehicles v where r.object_kind = 'fleet' and v.fleet_id = r.object_id and v.retired_at is null
	) v
	join commands c on c.vehicle_id = v.vehicle_id and c.id >= uuid7_floor(now() - interval '8 days') and c.issued_by = r.subject
		and c.status in ('accepted', 'waiting') and c.flight in ('none', 'claimed')
		and greatest(role_rank(c.catalog->>'role'), 1) > grant_rank(r.subject, v.vehicle_id, v.fleet_id))
