-- Registers or updates vehicles, at most one of each id: $1 vehicle, $2 subject, $3 admin, $4 body, $5 database.synchronous.
-- Admin may, and a manager of the fleet it is in and of the fleet it goes to. Who had rights through the fleet that it leaves
-- loses them: what they have not sent yet is cancelled; both fleets hear of the move. The audit table has the names of what
-- would change, and the fleet.
with i as materialized (
	select i.*, i.body::jsonb as b from unnest($1::text[], $2::text[], $3::bool[], $4::text[], $6::text[]) with ordinality as i(vehicle_id, subject, admin, body, address, n)
), seen as materialized (
	select i.*, v.vehicle_id is not null as there, v.fleet_id as was_in, is_manager(i.subject, v.fleet_id) as manages, i.b->>'fleet_id' as goes_to,
		grant_rank(i.subject, i.vehicle_id, v.fleet_id) as rank, h.vehicle_id is not null as has_head,
		json_build_object('fleet_id', i.b->>'fleet_id', 'changed', array(select c.field from (values
			('display_name', v.display_name is distinct from i.b->>'display_name'), ('msisdn', v.msisdn is distinct from i.b->>'msisdn'),
			('iccid', v.iccid is distinct from i.b->>'iccid'), ('fleet_id', v.fleet_id is distinct from i.b->>'fleet_id'),
			('tags', coalesce(to_jsonb(v.tags), '[]') <> coalesce(nullif(i.b->'tags', 'null'), '[]')),
			('vehicle_protocol', coalesce(v.protocol, 'keyfob') <> coalesce(i.b->>'vehicle_protocol', 'keyfob'))) as c(field, differs)
			where c.differs)) as detail
	from i left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
		left join vehicle_heads h on h.vehicle_id = i.vehicle_id
), judged as materialized (
	select s.*, case
		when s.admin and s.goes_to is not null and not exists (select from fleets f where f.fleet_id = s.goes_to) then 'invalid'
		when s.admin then 'done'
		when s.there and s.rank > 0 and not s.manages then 'forbidden'
		-- from here a stranger hears the same whether the vehicle exists or not
		when s.goes_to is null then 'forbidden'
		when not is_manager(s.subject, s.goes_to) then 'no_fleet'
		when s.there and not s.manages or not s.has_head then 'forbidden'
		else 'done' end as outcome
	from seen s
), leaving as materialized (
	select j.vehicle_id, g.subject, grant_rank(g.subject, j.vehicle_id, j.goes_to) as kept
	from judged j join grants g on g.object_kind = 'fleet' and g.object_id = j.was_in
	where j.outcome = 'done' and j.was_in is distinct from j.goes_to
), revoked as materialized (
	select commands_revoke(array(select vehicle_id from leaving), array(select subject from leaving), array(select kept from leaving)) as n
), remembered as (
	-- of what is claimed at the moment and may come back unsent, and of what the look at the left fleet has not come to
	insert into revocations (object_kind, object_id, subject)
	select distinct 'vehicle', j.vehicle_id, c.issued_by
	from judged j join commands c on c.vehicle_id = j.vehicle_id and c.id >= (select uuid7_floor(now() - interval '8 days')) and c.status in ('accepted', 'waiting')
	where j.outcome = 'done' and j.was_in is distinct from j.goes_to
		and (exists (select from leaving l where l.vehicle_id = j.vehicle_id and l.subject = c.issued_by)
		  or exists (select from revocations r where r.object_kind = 'fleet' and r.object_id = j.was_in and r.subject = c.issued_by))
), stored as (
	insert into vehicles as v (vehicle_id, display_name, msisdn, iccid, fleet_id, tags, protocol)
	select j.vehicle_id, j.b->>'display_name', j.b->>'msisdn', j.b->>'iccid', j.b->>'fleet_id',
		array(select jsonb_array_elements_text(coalesce(nullif(j.b->'tags', 'null'), '[]'))), coalesce(j.b->>'vehicle_protocol', 'keyfob')
	from judged j where j.outcome = 'done' and (select n from revoked) >= 0
	on conflict (vehicle_id) do update set display_name = excluded.display_name, msisdn = excluded.msisdn, iccid = excluded.iccid,
		fleet_id = excluded.fleet_id, tags = excluded.tags, protocol = excluded.protocol, updated_at = clock_timestamp(), retired_at = null,
		created_at = case when v.retired_at is null then v.created_at else clock_timestamp() end
	returning v
), moved as materialized (
	select event_add(j.vehicle_id, 'vehicle.moved', json_build_object('fleet_id', j.goes_to), j.was_in) as seq
	from stored s join judged j on j.vehicle_id = (s.v).vehicle_id where j.was_in is distinct from j.goes_to
), let_in as materialized (
	select vehicle_block(j.vehicle_id, false)::text from judged j join retained b on b.vehicle_id = j.vehicle_id and b.kind = 'blocked' and b.payload <> ''
	where j.outcome = 'done' and not j.there
), noted as (
	insert into audit (who, action, object, allowed, detail)
	select actor(j.subject, j.address), 'vehicle.put', j.vehicle_id, j.outcome = 'done', j.detail from judged j
)
select j.n, j.outcome, vehicle_json(s.v, h, true, history_epoch($5::bool)), not j.there
from judged j left join stored s on (s.v).vehicle_id = j.vehicle_id left join vehicle_heads h on h.vehicle_id = j.vehicle_id
where (select count(*) from moved) >= 0 and (select count(*) from let_in) >= 0
order by j.n
