-- How many workers are alive, how many feeds none of them holds, how many feeds there are, and how many of the workers come before this one ($1).
select count(*) filter (where l.name like 'worker/%' and l.expires_at > clock_timestamp()) as workers,
	count(*) filter (where l.name like 'feed/%' and (l.holder is null or l.expires_at <= clock_timestamp()
		or not exists (select from leases w where w.name = 'worker/' || l.holder and w.expires_at > clock_timestamp()))) as free,
	count(*) filter (where l.name like 'feed/%') as feeds,
	count(*) filter (where l.name like 'worker/%' and l.expires_at > clock_timestamp() and l.holder < $1::text) as earlier
from leases l
