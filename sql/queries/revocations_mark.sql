-- Revocations that nobody has looked at yet: who begins from now on has seen the end of the grant.
update revocations set until = pg_snapshot_xmax(pg_current_snapshot()) where until is null
