-- One fleet's ($1) changes come one after the other: the first statement of each of them.
select f.fleet_id from fleets f where f.fleet_id = $1::text for update
