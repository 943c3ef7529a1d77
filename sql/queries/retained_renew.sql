-- What a broker with the mark $1 (0: it has none) may have lost is due again; one that is ahead of us knows what we do not, and is told
-- all. Whom it shuts out the plugin forgets with every start. In the order in which a batch locks vehicles.
with broker as (
	select case when $1::bigint > m.retained_mark then -1 else $1::bigint end as mark from meta m
), lost as materialized (
	select r.vehicle_id, r.kind, r.name from retained r, broker b
	where r.published > 0 and (r.kind = 'blocked' and r.payload <> '' or r.mark > b.mark and (r.payload <> '' or b.mark <> 0))
	order by r.vehicle_id, r.kind, r.name for no key update of r
)
update retained r set published = 0 from lost l where r.vehicle_id = l.vehicle_id and r.kind = l.kind and r.name = l.name
