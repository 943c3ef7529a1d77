-- Takes up to $4 batches that nobody who is alive holds, for this worker ($1, on node $2) and $3 milliseconds, raising their epochs.
with taken as (
	update leases l set holder = $1::text, node = $2::text, epoch = l.epoch + 1,
		expires_at = clock_timestamp() + make_interval(secs => $3::int / 1000.0)
	where l.name in (
		select f.name from leases f
		where f.name like 'batch/%' and (f.holder is null or f.expires_at <= clock_timestamp()
			or not exists (select from leases w where w.name = 'worker/' || f.holder and w.expires_at > clock_timestamp()))
		order by f.name limit $4::int for update skip locked)
	returning substr(l.name, 7)::uuid as id, l.epoch
)
select b.id, t.epoch, b.state, b.rate, b.name, b.params, b.ttl_seconds, b.timeout_seconds, b.wake, b.redelivery, b.supersedes, b.catalog,
	b.traceparent, b.issued_by, b.admin, b.needs, coalesce(b.reason->>'by', b.issued_by) as ended_by
from taken t join batches b on b.id = t.id
for share of b -- as it is behind the lease's lock: whoever ended it a moment ago is seen
