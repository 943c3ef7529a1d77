-- What a broker with the mark $1 (0: it has none) may have lost is due again; one that is ahead of us knows what we do not, and is told
-- all. Whom it shuts out the plugin forgets with every start. What somebody changes at this moment is not waited for: a batch holds rows in
-- an order of its own. How many, and whether any were passed over.
with broker as (
	select case when $1::bigint > m.retained_mark then -1 else $1::bigint end as mark from meta m
), lost as materialized (
	select r.vehicle_id, r.kind, r.name from retained r, broker b
	where r.published > 0 and (r.kind = 'blocked' and r.payload <> '' or r.mark > b.mark and (r.payload <> '' or b.mark <> 0))
), mine as materialized (
	select r.vehicle_id, r.kind, r.name
	from lost l join retained r on r.vehicle_id = l.vehicle_id and r.kind = l.kind and r.name = l.name
	for no key update of r skip locked
), renewed as (
	update retained r set published = 0 from mine m where r.vehicle_id = m.vehicle_id and r.kind = m.kind and r.name = m.name returning 1
)
select (select count(*) from renewed), (select count(*) from mine) < (select count(*) from lost)
