-- Of the batch's vehicles ($1, with their feeds, $2): what waits for who is away, and the claims of this worker ($3; whether it can
-- publish, $4), which are to be published.
select s.vehicle_id, s.id, s.name, s.params, s.sealed_params, s.issued_at, s.expires_at, s.attempt, s.expires_us, s.traceparent, s.session, s.protocol,
	case when s.traceparent is not null then (select c.tracestate from commands c where c.vehicle_id = s.vehicle_id and c.id = s.id) end as tracestate
from settle_commands($1::text[], $2::text[], $3::text, $4::bool) s
