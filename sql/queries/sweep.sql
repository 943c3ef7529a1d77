-- Removes what dead workers left, idempotency keys whose day is over, what the broker let go a day ago, and wake-ups and batches older
-- than the commands that are kept ($1 milliseconds). A desired state's row stays: its version goes on.
with dead as (
	delete from leases where name like 'worker/%' and expires_at < clock_timestamp() - interval '1 minute' returning holder
), slept as (
	delete from wakeups where created_at < now() - greatest($1::bigint * interval '1 millisecond', interval '25 hours') -- the budget counts a day
), done as (
	delete from batches where finished_at < now() - greatest($1::bigint * interval '1 millisecond', interval '25 hours') returning id
), targets as (
	delete from batch_targets t using done d where t.batch_id = d.id
), let_go as (
	delete from retained r using (select o.vehicle_id, o.kind, o.name from retained o
		where o.payload = '' and o.kind <> 'desired' and o.published = o.version and o.changed_at < now() - interval '1 day' for update skip locked) o
	where r.vehicle_id = o.vehicle_id and r.kind = o.kind and r.name = o.name
), gone as (
	delete from interest t using dead d where t.worker = d.holder
)
delete from idempotency k using (select i.subject, i.key from idempotency i where i.created_at < now() - interval '24 hours' for update skip locked) o
where k.subject = o.subject and k.key = o.key -- one that is being asked for at this moment belongs to who asks
