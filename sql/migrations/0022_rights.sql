-- Rights: as they are when they are asked for.

-- Who owns a vehicle at this instant, and until when.
create function owners(vehicle text) returns table (subject text, until timestamptz) language sql stable as $$
	select g.subject, coalesce(g.expires_at, 'infinity') from grants g
	where g.object_kind = 'vehicle' and g.object_id = vehicle and g.role = 'owner' and coalesce(g.expires_at, 'infinity') > statement_timestamp() $$;
