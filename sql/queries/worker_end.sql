-- A worker ($1) ends in order: it is interested in nothing, and its lease is over.
with gone as (
	delete from interest where worker = $1::text
), released as (
	update leases set holder = null, expires_at = null where holder = $1::text and name like 'feed/%'
)
delete from leases where name = 'worker/' || $1::text
