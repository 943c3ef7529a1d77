-- Before the commands of the batch's vehicles ($1) are claimed: absences begin and end. $2: this installation has providers,
-- $3: the broker says when nobody is subscribed, $4: milliseconds since it was lost, $5: since it came back, $6: that a fleet may need
-- to. How many wake-ups were answered, whether one is due now, and how many were refused; no row where nobody is away or was.
select s.answered, s.due, s.refused
from (
	select array_agg(i.vehicle_id) as vehicles from unnest($1::text[]) as i(vehicle_id)
	where (select true from absences a where a.vehicle_id = i.vehicle_id)
		or $2::bool and not (select h.reachable from vehicle_heads h where h.vehicle_id = i.vehicle_id)
) c cross join lateral wake_settle(c.vehicles, $2::bool, $3::bool, $4::bigint * interval '1 millisecond', $5::bigint * interval '1 millisecond',
	$6::bigint * interval '1 millisecond') s
where c.vehicles is not null
