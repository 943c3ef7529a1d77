-- Takes up to $4 feeds that nobody who is alive holds, for this worker ($1, on node $2) and $3 milliseconds, raising their epochs.
update leases l set holder = $1::text, node = $2::text, epoch = l.epoch + 1,
	expires_at = clock_timestamp() + make_interval(secs => $3::int / 1000.0)
where l.name in (
	select f.name from leases f
	where f.name like 'feed/%' and (f.holder is null or f.expires_at <= clock_timestamp()
		or not exists (select from leases w where w.name = 'worker/' || f.holder and w.expires_at > clock_timestamp()))
	order by f.name limit $4::int for update skip locked)
returning l.name, l.epoch
