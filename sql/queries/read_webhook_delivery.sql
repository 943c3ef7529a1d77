-- $1 subject, $2 admin, $3 synchronous, $4 webhook, $5 delivery: it, with what is sent (`event`) while that is in the log and may be
-- seen by its subject, and, if an admin made it, with that scope; no cursor.
select 1, case when d.id is not null then (webhook_delivery_json(d)::jsonb || jsonb_build_object('event',
	(select webhook_body(e, history_epoch($3::bool), webhook_hears(w, e))::jsonb from events e
		where e.vehicle_id = d.vehicle_id and e.seq = d.seq and e.at = d.at and webhook_hears(w, e) is not null and ($2::bool or not w.is_admin))))::json end, null::text
from webhooks w left join webhook_deliveries d on d.id = $5::uuid and d.webhook_id = w.id
where w.id = $4::uuid and ($2::bool or w.subject = $1::text)
