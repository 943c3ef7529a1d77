-- Commands by vehicle ($1) and id ($2), in the order asked for; null where there is none.
select i.n, (select command_json(c) from commands c where c.vehicle_id = i.vehicle_id and c.id = i.id) as command
from unnest($1::text[], $2::uuid[]) with ordinality as i(vehicle_id, id, n)
order by i.n
