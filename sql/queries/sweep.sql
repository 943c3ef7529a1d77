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
	delete from retained where payload = '' and kind <> 'desired' and published = version and changed_at < now() - interval '1 day'
), gone as (
	delete from interest t using dead d where t.worker = d.holder
)
delete from idempotency where created_at < now() - interval '24 hours'
