-- The next lines ($1, at most) of a webhook whose waiting deliveries begin anew; false: there is none.
select webhooks_resume($1::int)
