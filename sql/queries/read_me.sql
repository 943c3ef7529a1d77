-- $1 subject, $2 admin, $3 unused, $4 the token's scopes as JSON: who the caller is.
select 3, json_build_object('subject', $1::text, 'scopes', $4::json, 'grants', coalesce((
	select json_agg(json_strip_nulls(json_build_object('vehicle_id', case when g.object_kind = 'vehicle' then g.object_id end,
		'fleet_id', case when g.object_kind = 'fleet' then g.object_id end, 'role', g.role))::jsonb
		|| jsonb_build_object('expires_at', rfc3339(g.expires_at)) order by g.object_kind, g.object_id)
	from grants g where g.subject = $1::text and (g.expires_at is null or g.expires_at > now())), '[]')), null::text
where $2::bool is not null and $3::bool is not null
