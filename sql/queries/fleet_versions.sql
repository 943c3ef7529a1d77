-- How often the grants of fleets ($1) were changed; none: the fleet is gone.
select f.fleet_id, f.access_version from fleets f where f.fleet_id = any($1::text[])
