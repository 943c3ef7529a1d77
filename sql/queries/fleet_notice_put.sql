-- Publishes a notice for a fleet: $1 fleet ('*': all vehicles), $2 subject who asks, $3 admin, $4 body {"name", "payload", "content_type",
-- "expires_in_seconds"}, $5 address. The fleet's managers may, and admin; for all vehicles admin alone.
with i as materialized (
	select $1::text as fleet_id, $2::text as subject, $3::bool as admin, $5::text as address, b.*, $1::text = '*' or f.fleet_id is not null as there,
		case when $3::bool then 3 else grant_rank($2::text, null, f.fleet_id) end as rank,
		exists (select from notices o where o.object_kind = 'fleet' and o.object_id = $1::text and o.name = b.name) as known,
		(select count(*) from notices o where o.object_kind = 'fleet' and o.object_id = $1::text) as others
	from (select $4::json->>'name' as name, $4::json->>'payload' as payload, $4::json->>'content_type' as content_type,
		clock_timestamp() + make_interval(secs => ($4::json->>'expires_in_seconds')::int) as expires_at offset 0) b
	left join fleets f on f.fleet_id = $1::text
), judged as materialized (
	select i.*, case
		when i.fleet_id = '*' and not i.admin then 'forbidden'
		when not i.there or i.rank = 0 then 'no_fleet'
		when i.rank < 3 then 'forbidden'
		when not i.known and i.others >= 64 then 'too_many'
		else 'done' end as outcome
	from i
), stored as (
	insert into notices as n (object_kind, object_id, name, payload, content_type, expires_at, published_by)
	select 'fleet', j.fleet_id, j.name, j.payload, j.content_type, j.expires_at, j.subject from judged j where j.outcome = 'done'
	on conflict (object_kind, object_id, name) do update set payload = excluded.payload, content_type = excluded.content_type,
		expires_at = excluded.expires_at, published_by = excluded.published_by, created_at = excluded.created_at
	returning n
), spread as materialized (
	select notice_spread(j.fleet_id, j.name)::text from judged j where j.outcome = 'done'
), noted as (
	insert into audit (who, action, object, allowed, detail)
	select actor(j.subject, j.address), 'fleet.notice.put', 'fleet/' || j.fleet_id, j.outcome = 'done', json_build_object('name', j.name) from judged j
)
select j.outcome, case when (s.n).name is not null then notice_json(s.n) end, not j.known, null::json, null::bigint
from judged j left join stored s on true where (select count(*) from spread) >= 0
