-- Takes deliveries that are due: $1 at most, $2 of a webhook with those that are in hand ($3: the webhook of each), for $4
-- milliseconds; $5 database.synchronous. In an order that does not depend on where their rows lie: a simulated run is repeated exactly.
select webhook_id, vehicle_id, claim, id, attempt, url, secret, old_secret, verdict, body
from webhooks_take($1::int, $2::int, $3::uuid[], $4::bigint * interval '1 millisecond', $5::bool)
order by webhook_id, vehicle_id
