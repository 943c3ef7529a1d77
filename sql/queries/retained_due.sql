-- What the broker has still to be told, at most $1, the longest due first; seconds until it ends (null: never).
select r.vehicle_id, r.kind, r.name, case when r.expires_at <= clock_timestamp() then '' else r.payload end, r.content_type, r.version,
	ceil(extract(epoch from r.expires_at - clock_timestamp()))::bigint
from retained r where r.published < r.version
order by r.changed_at, r.vehicle_id, r.kind, r.name limit $1::int
