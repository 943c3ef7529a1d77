-- A vehicle that is away has only waiting commands: of the vehicles of the batch ($1) that are not reachable,
-- what is accepted, and what was sent and not answered and can be offered again, waits.
with old as (
	select c.vehicle_id, c.id, h.reason, h.since
	from unnest($1::text[]) as i(vehicle_id)
	join vehicle_heads h on h.vehicle_id = i.vehicle_id and not h.reachable
	join commands c on c.vehicle_id = h.vehicle_id and c.id >= (select uuid7_floor(now() - interval '8 days'))
		and (c.status = 'accepted' and c.flight in ('none', 'out')
		  or c.status = 'sent' and c.flight = 'out' and c.redelivery <> 'never' and c.expires_at > clock_timestamp())
	order by c.vehicle_id, c.accepted_seq
)
select count(*) from command_apply(null,
	array(select vehicle_id from old), array(select id from old), array(select 'absent' from old),
	array(select null::json from old), array(select null::json from old), array(select null::text from old),
	array(select step('reachability', jsonb_build_object('state', 'disconnected', 'since', rfc3339(since), 'reason', reason)) from old))
