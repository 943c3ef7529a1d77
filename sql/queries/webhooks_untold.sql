-- Webhooks that were disabled and of which nobody was told yet, $1 at most; as webhooks_settle.sql has them.
select id, subject, untold_vehicle, untold_reason from webhooks where untold_vehicle is not null order by id limit $1::int
