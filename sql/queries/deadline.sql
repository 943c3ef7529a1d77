-- Looks at commands that are due ($1 vehicle, $2 id): the end of their life, of the wait for an answer, or of the
-- worker that claimed them ($3: this worker, $4, still has the publish in hand), for which nobody waits until it is due. What is not over
-- yet is looked at again.
with due as materialized (
	select c.vehicle_id, c.id, case
		when c.flight in ('claimed', 'claimed_out') and (h.claim_worker = $4::text and not i.in_hand or not exists (
			select from leases l where l.name = 'worker/' || h.claim_worker and l.expires_at > clock_timestamp())) then 'lose'
		when c.status in ('accepted', 'waiting') and c.flight = 'none' and c.expires_at <= clock_timestamp() then 'expire'
		when c.status in ('accepted', 'waiting') and c.flight = 'out' and c.expires_at <= clock_timestamp() then 'time_out'
		when c.status in ('accepted', 'waiting') and c.expires_at + interval '1 second' <= clock_timestamp() then 'time_out'
		when c.status in ('sent', 'in_progress') and c.flight = 'out' then 'time_out' end as event,
		c.status, c.flight, c.expires_at, c.sent_at, c.timeout_seconds
	from unnest($1::text[], $2::uuid[], $3::bool[]) as i(vehicle_id, id, in_hand)
	join vehicle_heads h on h.vehicle_id = i.vehicle_id
	cross join lateral (select c.* from commands c where c.vehicle_id = i.vehicle_id and c.id = i.id
		and (c.due_at <= clock_timestamp() or c.flight in ('claimed', 'claimed_out') and not exists (
			select from leases l where l.name = 'worker/' || h.claim_worker and l.expires_at > clock_timestamp())) offset 0) c
	order by c.vehicle_id, c.accepted_seq
), over as materialized (
	select *, case event when 'expire' then json_build_object('code', 'EXPIRED', 'description', 'it could not be delivered in time')
		when 'time_out' then json_build_object('code', 'NO_RESPONSE', 'description', 'no answer in time: it may have been done') end as reason
	from due where event is not null
), pushed as (
	update commands c set due_at = clock_timestamp() + interval '1 second'
	from due d where d.event is null and c.vehicle_id = d.vehicle_id and c.id = d.id
)
select a.n, a.event, a.applied
from rows from (command_apply(null,
	array(select vehicle_id from over), array(select id from over), array(select event from over),
	array(select reason from over), array(select null::json from over), array(select null::text from over),
	array(select step('timer', jsonb_build_object('what', event)) from over)), unnest(array(select event from over)))
	as a(n, applied, status, event)
