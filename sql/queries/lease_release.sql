-- Gives leases ($1, held by $2) back, so that others take them at once.
update leases set holder = null, expires_at = null where name = any($1::text[]) and holder = $2::text
