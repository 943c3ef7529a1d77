-- Takes a lease ($1) that one worker of all has, for this one ($2, on node $3) and $4 milliseconds, or renews it. No row: another's.
insert into leases as l (name, holder, node, epoch, expires_at)
values ($1::text, $2::text, $3::text, 1, clock_timestamp() + make_interval(secs => $4::int / 1000.0))
on conflict (name) do update set holder = excluded.holder, node = excluded.node, expires_at = excluded.expires_at,
	epoch = l.epoch + case when l.holder = excluded.holder and l.expires_at > clock_timestamp() then 0 else 1 end
where l.holder is null or l.holder = excluded.holder or l.expires_at <= clock_timestamp()
returning epoch
