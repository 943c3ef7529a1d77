-- Before answers are applied: what they name counts as sent, whatever is known of its PUBACK. Mostly that was recorded already.
with unsent as materialized (
	select i.vehicle_id, i.id
	from unnest($1::text[], $2::uuid[]) with ordinality as i(vehicle_id, id, n)
	cross join lateral (select c.status, c.flight from commands c where c.vehicle_id = i.vehicle_id and c.id = i.id offset 0) c
	where exists (select from lifecycle l where l.event = 'arrive' and l.from_status = c.status and l.from_flight = c.flight)
	order by i.n
)
select count(*) filter (where applied) from command_apply(null, array(select vehicle_id from unsent), array(select id from unsent),
	array(select 'arrive' from unsent), array(select null::json from unsent), array(select null::json from unsent),
	array(select null::text from unsent), array(select null::jsonb from unsent))
