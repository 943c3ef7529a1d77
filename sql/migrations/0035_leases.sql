-- By which session with the database a worker renews its lease: the server's process, when it began, and when its server did. Where that is over and
-- the worker does not come back by another, it is dead, and nobody has to wait until its lease has run out (lease_bury.sql). Unknown of nodes of
-- the version before.
alter table leases add column session_pid integer, add column session_began timestamptz, add column session_server timestamptz;
