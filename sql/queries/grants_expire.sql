-- Ends the grants on vehicles ($1), whose heads are locked, whose time is over; what their subjects have not sent yet and may not
-- send any more is cancelled with it.
with ending as materialized (
	select g.object_id as vehicle_id, g.subject, grant_rank(g.subject, null, v.fleet_id) as kept
	from unnest($1::text[]) as i(vehicle_id)
	join grants g on g.object_kind = 'vehicle' and g.object_id = i.vehicle_id and g.expires_at <= clock_timestamp()
	left join vehicles v on v.vehicle_id = g.object_id
	order by g.object_id, g.subject
), revoked as materialized (
	select commands_revoke(array(select vehicle_id from ending), array(select subject from ending), array(select kept from ending)) as n
), remembered as (
	insert into revocations (object_kind, object_id, subject) select 'vehicle', e.vehicle_id, e.subject from ending e
), ended as materialized (
	select event_add(e.vehicle_id, 'access.changed', access_json(e.subject, null, null)) from ending e where (select n from revoked) >= 0
)
delete from grants g using ending e where g.object_kind = 'vehicle' and g.object_id = e.vehicle_id and g.subject = e.subject
	and (select count(*) from ended) >= 0
