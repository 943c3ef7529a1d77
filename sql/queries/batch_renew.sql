-- Renews this worker's ($1) leases of batches, for $2 milliseconds; in the order in which a batch's fence locks them.
update leases l set expires_at = clock_timestamp() + make_interval(secs => $2::int / 1000.0)
from (select f.name from leases f where f.holder = $1::text and f.name like 'batch/%' and f.expires_at > clock_timestamp()
      order by f.name for no key update) o
where l.name = o.name
returning substr(l.name, 7), l.epoch
