-- Finds grants whose time is over, the longest over first, at most $1.
select distinct on (object_kind, object_id) object_kind, object_id
from (select g.object_kind, g.object_id from grants g where g.expires_at <= now() order by g.expires_at limit $1::int) g
