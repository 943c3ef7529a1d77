-- Who has subscribers for a fleet ($1) or for one of its vehicles, whose owners hear of its grants too.
select string_agg(distinct t.worker, ',') from interest t
where t.kind = 'fleet' and t.key in ($1::text, '*')
	or t.kind = 'vehicle' and t.key in (select v.vehicle_id from vehicles v where v.fleet_id = $1::text and v.retired_at is null)
