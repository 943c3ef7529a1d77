-- Wake-ups are switched on again: what was refused for it is looked at.
update absences a set due_at = clock_timestamp()
from (select x.vehicle_id from absences x where x.refused = 'DISABLED' and x.due_at is null order by x.vehicle_id for update skip locked) o
where a.vehicle_id = o.vehicle_id
