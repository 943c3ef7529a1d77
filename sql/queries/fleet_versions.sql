-- How often the grants of fleets ($1) were changed; null: the fleet is gone.
select i.fleet_id, f.access_version from unnest($1::text[]) as i(fleet_id) left join fleets f on f.fleet_id = i.fleet_id
