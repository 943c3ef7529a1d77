-- Takes the idempotency keys of all accepts of a batch, in one order, for callers who may send. Who loses a race
-- waits here and sees the winner's row in the next statement. One that is there is locked, so that it is there by then, too.
insert into idempotency (subject, key, fingerprint, vehicle_id, command_id)
select distinct on (i.subject, i.key) i.subject, i.key, i.fingerprint, i.vehicle_id, i.id
from unnest($1::uuid[], $2::text[], $3::text[], $4::bool[], $5::int[], $6::text[], $7::text[])
	as i(id, vehicle_id, subject, admin, needs, key, fingerprint)
join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
where i.key is not null and (i.admin or grant_rank(i.subject, i.vehicle_id, v.fleet_id) >= i.needs)
order by i.subject, i.key
on conflict (subject, key) do update set key = excluded.key where false
