-- The broker has these messages: $1 vehicle, $2 kind, $3 name, $4 version. A row that is being changed at this moment is left to be
-- published again: nobody waits here for a batch, which holds rows in an order of its own.
with mine as materialized (
	select r.vehicle_id, r.kind, r.name, i.version
	from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as i(vehicle_id, kind, name, version)
	join retained r on r.vehicle_id = i.vehicle_id and r.kind = i.kind and r.name = i.name
	for no key update of r skip locked
)
update retained r set published = m.version, mark = (select retained_mark + 1 from meta)
from mine m where r.vehicle_id = m.vehicle_id and r.kind = m.kind and r.name = m.name
