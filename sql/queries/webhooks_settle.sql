-- Records what became of deliveries: $1 webhooks, $2 vehicles, $3 claims, $4 deliveries, $5 what, $6 codes, $7 errors, $8 how long the
-- server asked for; $9 the first pause, $10 the longest, $11 the schedule, all in milliseconds. The webhooks that it disabled.
select webhook_id, subject, vehicle_id, reason
from webhooks_conclude($1::uuid[], $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::int[], $7::text[], $8::bigint[],
	$9::bigint * interval '1 millisecond', $10::bigint * interval '1 millisecond', $11::bigint * interval '1 millisecond')
