-- Tells what was noticed of vehicles, at most one of each: $1 vehicle, $2 type, $3 data. The hub shows it to whom it concerns alone. What is
-- to be told of a webhook is told by the first who comes, and is no more to be told.
with noticed as materialized (
	select i.vehicle_id, i.type, i.data::json as data, case i.type when 'webhook.disabled' then (i.data::json->>'webhook_id')::uuid end as webhook_id
	from unnest($1::text[], $2::text[], $3::text[]) as i(vehicle_id, type, data)
), first as (
	update webhooks w set untold_vehicle = null, untold_reason = null
	from noticed n where w.id = n.webhook_id and w.untold_vehicle = n.vehicle_id returning w.id
)
select event_add(v.vehicle_id, n.type, n.data)
from noticed n join vehicles v on v.vehicle_id = n.vehicle_id and v.retired_at is null
where n.webhook_id is null or n.webhook_id in (select f.id from first f)
