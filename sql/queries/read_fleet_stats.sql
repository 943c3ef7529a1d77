-- $1 subject, $2 admin, $3 unused, $4 fleet ('*': all vehicles, for admin alone), $5 minutes back, $6 {"provider": price of an SMS}, $7 the prices'
-- currency: what became of commands and wake-ups, and how long it took; a point a minute, or for more than two hours one in ten.
with v as (
	select * from overseen($1::text, $2::bool, $4::text) where $3::bool is not null
), span as (
	select date_trunc('minute', now()) - make_interval(mins => $5::int - 1) as since, interval '1 minute' * case when $5::int > 120 then 10 else 1 end as step
), s as materialized (
	select s.*, date_bin(span.step, s.minute, span.since) as point
	from v cross join span join stats s on s.fleet_id = v.fleet_id and s.minute >= span.since
), commands as (
	select json_object_agg(c.name, c.n) as body from (select name, sum(n) as n from s where kind = 'command' group by name) c
), summed as (
	select name, point, bucket, sum(n) as n from s where kind = 'stage' group by grouping sets ((name, bucket), (name, point, bucket))
), ranked as (
	select *, sum(n) over (partition by name, point order by bucket) as upto, sum(n) over (partition by name, point) as total from summed
), percentiles as materialized (
	select name, point, max(total) as n, stats_bucket_ms(min(bucket) filter (where upto >= 0.5 * total)) as p50,
		stats_bucket_ms(min(bucket) filter (where upto >= 0.95 * total)) as p95, stats_bucket_ms(min(bucket) filter (where upto >= 0.99 * total)) as p99
	from ranked group by name, point
), stages as (
	select json_agg(json_build_object('stage', p.name, 'count', p.n, 'p50_ms', p.p50, 'p95_ms', p.p95, 'p99_ms', p.p99)
		order by array_position(array['delivered', 'answered', 'whole'], p.name)) as body
	from percentiles p where p.point is null
), woken as (
	select split_part(name, '/', 1) as provider, split_part(name, '/', 2) as status, sum(n) as n from s where kind = 'wakeup' group by 1, 2
), wakeups as (
	select json_agg(json_build_object('provider', nullif(w.provider, ''), 'submitted', w.submitted, 'delivered', w.delivered, 'answered', w.answered, 'failed', w.failed,
		'refused', w.refused, 'cost', w.submitted * ($6::json->>w.provider)::numeric) order by w.provider) as body
	from (select provider, coalesce(sum(n) filter (where status = 'submitted'), 0) as submitted, coalesce(sum(n) filter (where status = 'delivered'), 0) as delivered,
		coalesce(sum(n) filter (where status = 'answered'), 0) as answered, coalesce(sum(n) filter (where status = 'failed'), 0) as failed,
		coalesce(sum(n) filter (where status = 'refused'), 0) as refused from woken group by provider) w
), counted as materialized (
	select point, sum(n) filter (where kind = 'command' and name = 'accepted') as accepted, sum(n) filter (where kind = 'command' and name = 'succeeded') as succeeded,
		sum(n) filter (where kind = 'command' and name in ('failed', 'rejected', 'timed_out', 'expired', 'canceled')) as unsuccessful,
		sum(n) filter (where kind = 'wakeup' and name like '%/submitted') as wakeups from s group by point
), points as (
	select json_agg(json_build_object('time', rfc3339(g.at), 'accepted', coalesce(c.accepted, 0), 'succeeded', coalesce(c.succeeded, 0),
		'unsuccessful', coalesce(c.unsuccessful, 0), 'wakeups', coalesce(c.wakeups, 0), 'p50_ms', p.p50, 'p95_ms', p.p95, 'p99_ms', p.p99) order by g.at) as body
	from span cross join lateral generate_series(span.since, now(), span.step) as g(at)
	left join counted c on c.point = g.at
	left join percentiles p on p.point = g.at and p.name = 'whole'
)
select v.rank, json_build_object('from', rfc3339(span.since), 'counted_until', rfc3339(m.stats_until), 'step_seconds', extract(epoch from span.step)::int,
	'commands', coalesce(commands.body, '{}'), 'stages', coalesce(stages.body, '[]'), 'wakeups', coalesce(wakeups.body, '[]'), 'currency', $7::text,
	'points', points.body), null
from v, span, meta m, commands, stages, wakeups, points
