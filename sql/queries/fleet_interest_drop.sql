-- This worker ($2) has no more subscribers for these fleets ($1).
delete from interest t where t.kind = 'fleet' and t.key = any($1::text[]) and t.worker = $2::text
