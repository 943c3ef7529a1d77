-- The fleets ($1) that vehicles are about to name stay until the transaction is over.
select f.fleet_id from fleets f where f.fleet_id = any($1::text[]) order by f.fleet_id for key share
