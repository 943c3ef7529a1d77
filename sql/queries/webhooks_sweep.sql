-- Removes deliveries that are older than their retention ($1 milliseconds), and those of webhooks that are no more, a part of them. True: there were
-- some, and there may be more.
select exists (select from webhook_deliveries d where d.id < (select uuid7_floor(now() - $1::bigint * interval '1 millisecond')))
	or exists (select from webhook_lines l where not exists (select from webhooks w where w.id = l.webhook_id)),
	webhooks_sweep($1::bigint * interval '1 millisecond')
