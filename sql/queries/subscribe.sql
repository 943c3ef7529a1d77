-- What a subscriber ($2, admin $3) of a vehicle ($1) begins with: the vehicle, its rank (0: not its to see), the head's
-- seq, the epoch, how long its grant lasts in milliseconds (null: for ever), its fleet, and how
-- often that one's grants were changed. $4: database.synchronous.
select vehicle_json(v, h, m.is_manager, e.epoch) as vehicle,
	case when $3::bool then 3 else grant_rank($2::text, v.vehicle_id, v.fleet_id) end as rank,
	h.seq, e.epoch,
	case when not $3::bool then (
		select (extract(epoch from max(coalesce(g.expires_at, 'infinity')) - now()) * 1000)::bigint
		from grants g
		where g.subject = $2::text and (g.expires_at is null or g.expires_at > now())
			and (g.object_kind = 'vehicle' and g.object_id = v.vehicle_id or g.object_kind = 'fleet' and g.object_id = v.fleet_id)
		having max(coalesce(g.expires_at, 'infinity')) < 'infinity') end as expires_ms,
	v.fleet_id, (select f.access_version from fleets f where f.fleet_id = v.fleet_id) as access_version
from vehicles v
join vehicle_heads h on h.vehicle_id = v.vehicle_id
cross join (select history_epoch($4::bool) as epoch offset 0) e
cross join lateral (select $3::bool or is_manager($2::text, v.fleet_id) as is_manager offset 0) m
where v.vehicle_id = $1::text and v.retired_at is null
