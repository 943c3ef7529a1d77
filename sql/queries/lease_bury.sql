-- Ends the leases of workers that are dead, for what asks, $1. A worker is dead when the session that it renewed its lease by is over, and its last
-- will was heard ($2) or it has not renewed for $3 milliseconds, of the $4 that a lease lasts. Whoever came to this server after that renewal cannot
-- tell, since what ended its own session may have ended the other; but who is new ($5: has never lost one) can, if it is the same server, which
-- has not ended everybody's since: that begins its statistics anew. A lease that is being renewed is passed over. Who of $2 is dead by now, and
-- whether this has found it.
with buried as (
	update leases l set expires_at = clock_timestamp()
	from (
		select s.name
		from unnest(array( -- locked first, looked at then: of the server's sessions a transaction sees those of its first look
			select w from leases w
			where w.name like 'worker/%' and w.name <> 'worker/' || $1::text and w.session_began is not null and w.expires_at > clock_timestamp()
				and (w.holder = any($2::text[]) or w.expires_at <= clock_timestamp() + make_interval(secs => ($4::int - $3::int) / 1000.0))
			order by w.name for no key update skip locked)) s
		where not exists ( -- when another role's began is not shown
			select from pg_stat_get_activity(s.session_pid) a where a.backend_start is null or a.backend_start = s.session_began)
		and (exists (select from pg_stat_get_activity(pg_backend_pid()) a where a.backend_start < s.expires_at - make_interval(secs => $4::int / 1000.0))
			or $5::bool and s.session_server = pg_postmaster_start_time()
				and pg_stat_get_bgwriter_stat_reset_time() < s.expires_at - make_interval(secs => $4::int / 1000.0))) dead
	where l.name = dead.name
	returning l.holder
)
select b.holder, true from buried b
union all
select h.worker, false from unnest($2::text[]) as h(worker)
where not exists (select from leases l where l.name = 'worker/' || h.worker and l.expires_at > clock_timestamp())
