-- Makes or changes grants, at most one of a vehicle: $1 vehicle, $2 subject who asks, $3 admin, $4 body {"subject","role","expires_at"},
-- $5 unused. What the subject has not sent yet and may not send any more is cancelled with it; a grant whose time was over
-- begins anew. But for admin, the last day on which the vehicle has an owner comes no earlier by it ('last_owner'), and who owns is said
-- by owners, for no longer than they are, and by managers where nobody else is one ('not_theirs'). A vehicle has at most 1000: what ends all of
-- them does it in one transaction.
with i as materialized (
	select i.*, b.*, v.vehicle_id is not null as there, grant_rank(i.subject, i.vehicle_id, v.fleet_id) as rank,
		is_manager(i.subject, v.fleet_id) as manages,
		greatest(role_rank(b.role), grant_rank(b.whose, null, v.fleet_id)) as left_rank,
		exists (select from grants g where g.object_kind = 'vehicle' and g.object_id = i.vehicle_id and g.subject = b.whose
		        and (g.expires_at is null or g.expires_at > statement_timestamp())) as alive,
		case b.role when 'owner' then coalesce(b.expires_at, 'infinity') else '-infinity' end as until,
		o.was_until, o.others_until, o.own_until
	from unnest($1::text[], $2::text[], $3::bool[], $4::text[], $6::text[]) with ordinality as i(vehicle_id, subject, admin, body, address, n)
	cross join lateral (select i.body::json->>'subject' as whose, i.body::json->>'role' as role,
	                           (i.body::json->>'expires_at')::timestamptz as expires_at) b
	left join vehicles v on v.vehicle_id = i.vehicle_id and v.retired_at is null
	cross join lateral (
		select coalesce(max(w.until) filter (where w.subject = b.whose), '-infinity') as was_until,
			coalesce(max(w.until) filter (where w.subject <> b.whose), '-infinity') as others_until,
			coalesce(max(w.until) filter (where w.subject = i.subject), '-infinity') as own_until
		from owners(i.vehicle_id) w) o
	where $5::bool is not null
), judged as materialized (
	select i.*, case
		when not i.there then 'not_found'
		when not i.admin and i.rank = 0 then 'not_found'
		when not i.admin and i.rank < 3 then 'forbidden'
		when not i.alive and (select count(*) from grants g where g.object_kind = 'vehicle' and g.object_id = i.vehicle_id) >= 1000 then 'too_many_grants'
		when i.admin then 'done'
		when greatest(i.until, i.others_until) < i.was_until then 'last_owner'
		when i.role = 'owner' and i.own_until < i.until and not (i.manages and i.others_until = '-infinity') then 'not_theirs'
		else 'done' end as outcome
	from i
), unsent as materialized (
	select c.vehicle_id, c.id
	from judged j join commands c on c.vehicle_id = j.vehicle_id and c.id >= (select uuid7_floor(now() - interval '8 days'))
		and c.issued_by = j.whose and c.status in ('accepted', 'waiting') and c.flight = 'none'
		and greatest(role_rank(c.catalog->>'role'), 1) > j.left_rank
	where j.outcome = 'done' order by c.vehicle_id, c.accepted_seq
), cancelled as materialized (
	select count(*) as n from command_apply(null, array(select vehicle_id from unsent), array(select id from unsent), array(select 'cancel' from unsent),
		array(select json_build_object('code', 'ACCESS_REVOKED') from unsent), array(select null::json from unsent),
		array(select null::text from unsent), array(select step('canceled', '{"code": "ACCESS_REVOKED"}') from unsent))
), stored as (
	-- the head's lock may have been waited for: now() is older than what it was waited for
	insert into grants as g (object_kind, object_id, subject, role, expires_at, granted_by, created_at)
	select 'vehicle', j.vehicle_id, j.whose, j.role, j.expires_at, j.subject, clock_timestamp() from judged j
	where j.outcome = 'done' and (select n from cancelled) >= 0
	on conflict (object_kind, object_id, subject) do update set role = excluded.role, expires_at = excluded.expires_at, granted_by = excluded.granted_by,
		created_at = case when g.expires_at <= statement_timestamp() then excluded.created_at else g.created_at end
	returning g,
		event_add(g.object_id, 'access.changed', access_json(g.subject, g.role, g.expires_at)) as seq
), remembered as (
	insert into revocations (object_kind, object_id, subject) select 'vehicle', j.vehicle_id, j.whose from judged j where j.outcome = 'done' and j.alive
), noted as (
	insert into audit (who, action, object, allowed, detail) select actor(j.subject, j.address), 'grant.put', j.vehicle_id, j.outcome = 'done', audit_detail(j.body::json) from judged j
)
select j.n, j.outcome, case when (s.g).subject is not null then grant_json(s.g) end, not j.alive
from judged j left join stored s on (s.g).object_id = j.vehicle_id order by j.n
