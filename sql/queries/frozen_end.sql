-- Ends the sessions of our role that have waited for their node amid a transaction for longer than a worker's lease lasts: how many. Between
-- two statements of a unit none of the server's time-outs runs, and what its node has locked would be locked for as long as that stands still.
select count(*) filter (where pg_terminate_backend(a.pid)) from pg_stat_activity a
where a.datname = current_database() and a.usename = current_user
	and a.state = 'active' and a.wait_event = 'ClientRead' and a.state_change < pg_catalog.clock_timestamp() - interval '6 s'
