-- Who may have subscribers for a fleet, or for one of its vehicles, whose owners hear of its grants too: every worker that there is, however many
-- vehicles the fleet has and however many are watched. Each knows for itself.
select string_agg(substr(l.name, 8), ',') from leases l where l.name like 'worker/%'
