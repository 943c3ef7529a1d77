-- How many workers are alive, and how many feeds nobody holds.
select count(*) filter (where name like 'worker/%' and expires_at > clock_timestamp()) as workers,
	count(*) filter (where name like 'feed/%' and (holder is null or expires_at <= clock_timestamp())) as free,
	count(*) filter (where name like 'feed/%') as feeds
from leases
