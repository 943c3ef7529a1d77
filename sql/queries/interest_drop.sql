-- This worker ($2) has no more subscribers for these vehicles ($1).
delete from interest t where t.kind = 'vehicle' and t.key = any($1::text[]) and t.worker = $2::text
