-- The broker has named everybody who is there: who is stored as reachable and was not named as subscribed since $1
-- (microseconds since 1970) goes through verification of $2 milliseconds: it may be on its way back to a broker that was restarted. Only while the lease of the lifecycle feed
-- ($3, $4, $5) stands. At most $7 vehicles, of those behind $6: how many it were, the last of them, and of how many the verification has begun.
with missing as materialized (
	select h.vehicle_id, h as head from vehicle_heads h
	where h.reachable and not h.verifying and h.vehicle_id > $6::text
		and (h.seen_at is null or h.seen_at < to_timestamp($1::bigint / 1000000.0) or not h.subscribed)
		and exists (select from leases l where l.name = $3::text and l.holder = $4::text and l.epoch = $5::bigint)
	order by h.vehicle_id limit $7::int for update
), judged as materialized (
	select m.vehicle_id, head_unnamed(m.head, to_timestamp($1::bigint / 1000000.0)) as n from missing m
), marked as (
	update vehicle_heads h set session = (j.n).session, version = (j.n).version, version_at = (j.n).version_at, connected_at = (j.n).connected_at,
		topics_at = (j.n).topics_at, taken_at = (j.n).taken_at, linked = (j.n).linked, doubted = (j.n).doubted, subscribed = (j.n).subscribed,
		verifying = (j.n).verifying, leaving = (j.n).leaving, seen_at = (j.n).seen_at, past_sessions = (j.n).past_sessions, early = (j.n).early
	from judged j where h.vehicle_id = j.vehicle_id
), due as (
	insert into timers (kind, vehicle_id, due_at)
	select 'verify', j.vehicle_id, clock_timestamp() + make_interval(secs => $2::int / 1000.0) from judged j where (j.n).verifying
	on conflict (kind, vehicle_id) do update set due_at = excluded.due_at
	returning 1
)
select count(*), max(m.vehicle_id), (select count(*) from due) from missing m
