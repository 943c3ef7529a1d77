-- Takes back what the newly accepted commands ($2, of the vehicles $1) supersede and what has not left;
-- $3: the names, comma-separated.
with old as (
	select c.vehicle_id, c.id, i.id as newer
	from unnest($1::text[], $2::uuid[], $3::text[]) as i(vehicle_id, id, names)
	cross join lateral (select n.accepted_seq from commands n where n.vehicle_id = i.vehicle_id and n.id = i.id offset 0) n
	join commands c on c.vehicle_id = i.vehicle_id and c.id >= (select uuid7_floor(now() - interval '8 days'))
		and c.status in ('accepted', 'waiting') and c.flight = 'none' and c.accepted_seq < n.accepted_seq
		and c.name = any(string_to_array(i.names, ','))
	order by c.vehicle_id, c.accepted_seq
)
select count(*) from command_apply(null,
	array(select vehicle_id from old), array(select id from old), array(select 'cancel' from old),
	array(select json_build_object('code', 'SUPERSEDED', 'by', newer) from old),
	array(select null::json from old), array(select null::text from old),
	array(select step('canceled', jsonb_build_object('code', 'SUPERSEDED', 'by', newer)) from old))
