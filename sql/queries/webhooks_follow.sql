-- Makes the deliveries of the events that have come: how many, of about $1 at most; null: there is no webhook.
select webhooks_follow($1::int)
