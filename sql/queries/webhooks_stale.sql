-- Webhooks with a secret that is stored as one of $1 begins: $2 at most.
select id, secret, old_secret from webhooks
where exists (select from unnest($1::text[]) as p(prefix) where starts_with(secret, p.prefix) or starts_with(old_secret, p.prefix))
order by id limit $2::int
