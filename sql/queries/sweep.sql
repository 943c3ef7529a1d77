-- Removes what dead workers left, idempotency keys whose day is over, what the broker let go a day ago, and wake-ups and batches older
-- than the commands that are kept ($1 milliseconds). A desired state's row stays: its version goes on. However much there is, no more than
-- so many rows of a kind ($2) at once; true: there may be more of them. A batch goes once it has no targets.
with dead as (
	delete from leases where name like 'worker/%' and expires_at < clock_timestamp() - interval '1 minute' returning holder
), gone as (
	delete from interest t using dead d where t.worker = d.holder
), slept as (
	delete from wakeups w using (select o.vehicle_id, o.id from wakeups o
		where o.created_at < now() - greatest($1::bigint * interval '1 millisecond', interval '25 hours') -- the budget counts a day
		limit $2::int for update skip locked) o
	where w.vehicle_id = o.vehicle_id and w.id = o.id returning 1
), past as materialized (
	select b.id from batches b where b.finished_at < now() - greatest($1::bigint * interval '1 millisecond', interval '25 hours') limit $2::int
), targets as (
	delete from batch_targets t using (select o.batch_id, o.vehicle_id from past p join batch_targets o on o.batch_id = p.id
		limit $2::int for update of o skip locked) o
	where t.batch_id = o.batch_id and t.vehicle_id = o.vehicle_id returning 1
), done as (
	delete from batches b using past p where b.id = p.id and not exists (select from batch_targets t where t.batch_id = p.id) returning 1
), let_go as (
	delete from retained r using (select o.vehicle_id, o.kind, o.name from retained o
		where o.payload = '' and o.kind <> 'desired' and o.published = o.version and o.changed_at < now() - interval '1 day'
		limit $2::int for update skip locked) o
	where r.vehicle_id = o.vehicle_id and r.kind = o.kind and r.name = o.name returning 1
), keys as (
	delete from idempotency k using (select i.subject, i.key from idempotency i where i.created_at < now() - interval '24 hours'
		limit $2::int for update skip locked) o
	where k.subject = o.subject and k.key = o.key returning 1 -- one that is being asked for at this moment belongs to who asks
)
select (select count(*) from slept) = $2::int or (select count(*) from targets) > 0 or (select count(*) from done) = $2::int
	or (select count(*) from let_go) = $2::int or (select count(*) from keys) = $2::int
