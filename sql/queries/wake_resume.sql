-- Wake-ups are switched on again: what was refused for it is looked at. Whether any were passed over, since somebody has them in hand.
with refused as materialized (
	select x.vehicle_id from absences x where x.refused = 'DISABLED' and x.due_at is null
), mine as materialized (
	select x.vehicle_id from refused r join absences x on x.vehicle_id = r.vehicle_id where x.refused = 'DISABLED' and x.due_at is null order by x.vehicle_id for update of x skip locked
), resumed as (
	update absences a set due_at = clock_timestamp() from mine m where a.vehicle_id = m.vehicle_id
)
select (select count(*) from mine) < (select count(*) from refused)
