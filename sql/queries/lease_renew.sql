-- Renews this worker's ($1, on node $2) own lease and all that it holds, for $3 milliseconds: its own comes first, with
-- whether it had lapsed in the meantime. By which session stands there, too: lease_bury.sql looks for it.
with own as (
	insert into leases as l (name, holder, node, epoch, expires_at, session_pid, session_began, session_server)
	values ('worker/' || $1::text, $1::text, $2::text, 1, clock_timestamp() + make_interval(secs => $3::int / 1000.0),
		pg_backend_pid(), (select backend_start from pg_stat_get_activity(pg_backend_pid())), pg_postmaster_start_time())
	on conflict (name) do update set expires_at = excluded.expires_at, epoch = l.epoch + 1, node = excluded.node,
		session_pid = excluded.session_pid, session_began = excluded.session_began, session_server = excluded.session_server
	returning l.name, l.epoch
), held as (
	-- in the order in which a batch's fence locks them
	update leases l set expires_at = clock_timestamp() + make_interval(secs => $3::int / 1000.0)
	from (select f.name from leases f where f.holder = $1::text and f.name like 'feed/%' and f.expires_at > clock_timestamp()
	      order by f.name for no key update) o
	where l.name = o.name
	returning l.name, l.epoch
)
select name, epoch, name like 'worker/%' and not exists (
	select from leases l where l.name = 'worker/' || $1::text and l.expires_at > clock_timestamp()) as lapsed
from (select * from own union all select * from held) x
order by name like 'worker/%' desc, name
