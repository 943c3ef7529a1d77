-- Stores the secrets of webhook $1 anew: $2 as $4, the one before, $3, as $5. Nothing, where it was rotated meanwhile.
update webhooks set secret = $4::text, old_secret = $5::text
where id = $1::uuid and secret = $2::text and old_secret is not distinct from $3::text
