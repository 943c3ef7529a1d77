-- What a batch that was ended ($1) has not sent yet, at most $2; what is claimed at the moment may come back unsent.
select t.vehicle_id, t.command_id, c.flight = 'none' as may
from batch_targets t
cross join lateral (select c.status, c.flight from commands c where c.vehicle_id = t.vehicle_id and c.id = t.command_id offset 0) c
where t.batch_id = $1::uuid and t.fed and t.settled is null and c.status in ('accepted', 'waiting') and c.flight in ('none', 'claimed')
limit $2::int
