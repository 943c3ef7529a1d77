-- Notes what became of the accepts that this transaction made for targets of batches: $1 batch (null: of none), $2 vehicle, $3 the
-- command's id, $4 subject, $5 admin, $6 the rank that is needed. Where there is no command, why.
update batch_targets t set fed = true, command_id = r.command_id, refusal = r.refusal
from (
	select i.batch_id, i.vehicle_id, c.id as command_id, case
		when c.id is not null then null
		when v.vehicle_id is null or g.rank = 0 then 'vehicle-not-found'
		when g.rank < i.needs then 'forbidden'
		else 'queue-full' end as refusal
	from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::bool[], $6::int[]) as i(batch_id, vehicle_id, id, subject, admin, needs)
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	left join commands c on c.vehicle_id = i.vehicle_id and c.id = i.id
	cross join lateral (select case when i.admin then 3 else grant_rank(i.subject, i.vehicle_id, v.fleet_id) end as rank) g
	where i.batch_id is not null
) r
where t.batch_id = r.batch_id and t.vehicle_id = r.vehicle_id and not t.fed
