-- Finds commands that are due, oldest first ($1: so many); no row is locked, the batch looks again under the heads' locks. A claim of a
-- living worker is its own ($2 is who asks), until the command's life is over: only it knows what it has in hand. Claims that will be due within
-- $3 milliseconds are found now where their worker is dead.
-- (By now(), as wherever something due is looked for: clock_timestamp() may differ from row to row, so no index can go by it.)
select c.vehicle_id, c.id from commands c
where c.due_at <= now() + make_interval(secs => $3::int / 1000.0) and case
	when c.due_at > now() then c.flight in ('claimed', 'claimed_out') and not exists (
		select from vehicle_heads h join leases l on l.name = 'worker/' || h.claim_worker and l.expires_at > clock_timestamp()
		where h.vehicle_id = c.vehicle_id)
	else c.flight not in ('claimed', 'claimed_out') or c.expires_at + interval '1 second' <= clock_timestamp()
		or not exists (select from vehicle_heads h join leases l on l.name = 'worker/' || h.claim_worker and l.expires_at > clock_timestamp()
			where h.vehicle_id = c.vehicle_id and h.claim_worker <> $2::text) end
order by c.due_at limit $1::int
