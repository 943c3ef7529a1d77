-- Removes deliveries that are older than their retention ($1 milliseconds), and those of webhooks that are no more.
select webhooks_sweep($1::bigint * interval '1 millisecond')
