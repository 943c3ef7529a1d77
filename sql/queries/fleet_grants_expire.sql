-- Ends the grants on a fleet ($1) whose time is over: what became of it, as fleet_grant_end.sql has it.
with ended as (
	delete from grants g where g.object_kind = 'fleet' and g.object_id = $1::text and g.expires_at <= clock_timestamp()
	returning g.object_id, g.subject
), raised as (
	update fleets f set access_version = f.access_version + 1 where f.fleet_id = $1::text and exists (select from ended) returning f.access_version
), remembered as (
	insert into revocations (object_kind, object_id, subject) select 'fleet', e.object_id, e.subject from ended e
)
select 'done', null::json, false, (select json_agg(access_json(e.subject, null, null)) from ended e), (select r.access_version from raised r)
