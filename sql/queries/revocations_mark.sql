-- Revocations that nobody has looked at yet: who begins from now on has seen the end of the grant. Every worker looks; what
-- one has in hand the others leave to it.
update revocations r set until = pg_snapshot_xmax(pg_current_snapshot())
from (select o.id from revocations o where o.until is null order by o.id for update skip locked) o
where r.id = o.id
