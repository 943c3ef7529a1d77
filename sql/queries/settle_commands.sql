-- Of the batch's vehicles ($1, with their feeds, $2): what waits for who is away, and the claims of this worker ($3; whether it can
-- publish, $4), which are to be published.
select vehicle_id, id, name, params, sealed_params, issued_at, expires_at, attempt, expires_us, traceparent, session, protocol
from settle_commands($1::text[], $2::text[], $3::text, $4::bool)
