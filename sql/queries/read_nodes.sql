-- $1 subject, $2 admin, $3 unused, $4 limit, $5 cursor (the last node seen): a page of the nodes, and what they hold. One that drained and
-- went is shown no more, one that was lost for a day.
with l as materialized (
	select l.node, count(*) filter (where l.name like 'worker/%') as workers,
		json_agg(l.name order by l.name) filter (where l.name not like 'worker/%') as leases
	from leases l where l.node is not null and l.expires_at > clock_timestamp() group by l.node
), known as (
	select n.*, coalesce(l.workers, 0) as workers, coalesce(l.leases, '[]') as leases,
		case when l.node is null and n.seen_at < clock_timestamp() - interval '15 seconds' then 'gone'
			when n.draining then 'draining' when n.ready then 'ready' else 'not_ready' end as state
	from nodes n left join l on l.node = n.node
	where $3::bool is not null
), shown as (
	select k.node, json_build_object('node', k.node, 'state', k.state, 'checks', k.checks, 'version', k.version, 'started_at', rfc3339(k.started_at),
		'seen_at', rfc3339(k.seen_at), 'workers', k.workers, 'leases', k.leases, 'load', k.load) as body,
		row_number() over (order by k.node) as n
	from known k where not (k.draining and k.state = 'gone') and k.node > coalesce($5::text, '')
	order by k.node limit $4::int + 1
), next as (
	select case when count(*) > $4::int then max(node) filter (where n = $4::int) end as cursor from shown
)
select case when $2::bool and $1::text is not null then 3 else 0 end,
	json_build_object('items', coalesce((select json_agg(s.body order by s.n) from shown s where s.n <= $4::int), '[]'), 'next_cursor', next.cursor), next.cursor
from next
