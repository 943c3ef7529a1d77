-- Of each reachable vehicle of the batch ($1) whose head has no claim: claims its oldest unsent command for this
-- worker ($2), and returns what is to be published. Where this worker cannot publish ($3 false), or nobody would
-- hear the answer yet (on its feed, $4, or the one of its protocol), a timer offers it again. Likewise where the session was just
-- connected and has not subscribed: nobody would hear the request. One that is silent about it for a second (a resumed session, on
-- some brokers) is tried.
-- A vehicle that is away is tried once so before it is woken by SMS (absences, 'probe'): whoever was there all along gets
-- the command.
with open as materialized (
	select h.vehicle_id, audience(h) as session, h.reachable, v.protocol, p.*,
		$3::bool and f.subscribed and (h.subscribed or coalesce(h.taken_at < clock_timestamp() - interval '1 second', true)) as may
	from unnest($1::text[], $4::text[]) as i(vehicle_id, feed)
	join vehicle_heads h on h.vehicle_id = i.vehicle_id and h.claim_id is null
		and (h.reachable or is_to_be_probed(h.vehicle_id))
	join vehicles v on v.vehicle_id = h.vehicle_id
	join leases f on f.name = 'feed/' || case v.protocol when 'keyfob' then i.feed else v.protocol end
	cross join lateral (
		select c.id, c.name, c.params, c.sealed_params, c.created_at, c.expires_at, c.attempts, c.traceparent
		from commands c
		where c.vehicle_id = h.vehicle_id and c.id >= (select uuid7_floor(now() - interval '8 days'))
			and c.status in ('accepted', 'waiting', 'sent') and c.expires_at >= clock_timestamp() + interval '1 second'
			and (c.flight = 'none'
			  or c.flight = 'out' and c.redelivery <> 'never'
			     and (c.status <> 'sent' or c.publish_session is distinct from audience(h)))
		order by c.accepted_seq limit 1
	) p
	order by h.vehicle_id
), later as (
	insert into timers (kind, vehicle_id, due_at)
	select 'offer', o.vehicle_id, clock_timestamp() + interval '1 second' from open o where not o.may
	on conflict (kind, vehicle_id) do update set due_at = excluded.due_at
), may as materialized (
	select * from open where open.may
), probing as (
	update absences a set phase = 'probing', probe_id = m.id, due_at = clock_timestamp() + interval '10 seconds'
	from may m where not m.reachable and a.vehicle_id = m.vehicle_id
)
select m.vehicle_id, m.id, m.name, m.params, m.sealed_params, rfc3339(m.created_at) as issued_at, rfc3339(m.expires_at) as expires_at,
	m.attempts + 1 as attempt, (extract(epoch from m.expires_at) * 1000000)::bigint as expires_us, m.traceparent, m.session, m.protocol
from rows from (
	command_apply($2::text, array(select vehicle_id from may), array(select id from may), array(select 'claim' from may),
		array(select null::json from may), array(select null::json from may), array(select null::text from may),
		array(select step('claimed', jsonb_build_object('worker', $2::text, 'attempt', attempts + 1)
			|| case when reachable then '{}' else '{"probe": true}' end::jsonb) from may)),
	unnest(array(select vehicle_id from may), array(select id from may), array(select name from may), array(select params from may),
		array(select sealed_params from may), array(select created_at from may), array(select expires_at from may),
		array(select attempts from may), array(select traceparent from may), array(select session from may), array(select protocol from may)))
	as m(n, applied, status, vehicle_id, id, name, params, sealed_params, created_at, expires_at, attempts, traceparent, session, protocol)
where m.applied
order by m.n
