-- Cancels commands, at most one of a vehicle, for callers who may send: $1 vehicle, $2 id, $3 subject, $4 admin, $5 address. A row for each input: its number and what was found.
-- As where it is read, a grant shows what happened since it was made: there is no other command.
with i as materialized (
	select * from unnest($1::text[], $2::uuid[], $3::text[], $4::bool[], $5::text[]) with ordinality as i(vehicle_id, id, subject, admin, address, n)
), seen as materialized (
	select i.*, c.status, c.id is not null as found,
		case when v.vehicle_id is null then 0 when i.admin then 3 else grant_rank(i.subject, i.vehicle_id, v.fleet_id) end as rank
	from i left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
		left join commands c on c.vehicle_id = i.vehicle_id and c.id = i.id and (i.admin or c.created_at >= grant_since(i.subject, v.vehicle_id, v.fleet_id))
), may as materialized (
	select * from seen where found and rank >= 2 order by vehicle_id
), done as materialized (
	select row_number() over (order by a.n) as place, a.applied
	from command_apply(null, array(select vehicle_id from may), array(select id from may), array(select 'cancel' from may),
		array(select json_build_object('code', 'CANCELED', 'by', subject) from may),
		array(select null::json from may), array(select null::text from may),
		array(select step('canceled', jsonb_build_object('by', subject)) from may)) a
), noted as (
	insert into audit (who, action, object, allowed, detail)
	select actor(s.subject, s.address), 'command.cancel', s.vehicle_id, s.rank >= 2, json_build_object('id', s.id) from seen s
)
select s.n, case
	when s.rank = 0 then 'not_found'
	when s.rank < 2 then 'forbidden'
	when not s.found then 'no_command'
	when d.applied or s.status = 'canceled' then 'canceled'
	when s.status in ('succeeded', 'failed', 'rejected', 'expired') then 'final'
	else 'sent' end as outcome
from seen s
left join (select n, row_number() over (order by vehicle_id) as place from may) m on m.n = s.n
left join done d on d.place = m.place
order by s.n
