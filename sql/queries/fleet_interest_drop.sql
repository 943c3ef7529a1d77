-- This worker ($2) has no more subscribers for these fleets ($1).
delete from interest t using unnest($1::text[]) as i(fleet_id) where t.kind = 'fleet' and t.key = i.fleet_id and t.worker = $2::text
