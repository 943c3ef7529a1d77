-- Removes what dead workers left, and idempotency keys whose day is over.
with dead as (
	delete from leases where name like 'worker/%' and expires_at < clock_timestamp() - interval '1 minute' returning holder
), gone as (
	delete from interest t using dead d where t.worker = d.holder
)
delete from idempotency where created_at < now() - interval '24 hours'
