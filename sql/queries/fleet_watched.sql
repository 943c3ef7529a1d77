-- Who is told what was noticed of a fleet ($1): as in fleet_tell, every worker that there is. Nobody of a fleet that does not exist.
select string_agg(substr(l.name, 8), ',') from leases l where l.name like 'worker/%' and exists (select from fleets f where f.fleet_id = $1::text)
