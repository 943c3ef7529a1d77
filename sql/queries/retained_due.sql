-- What the broker has still to be told, at most $1, the longest due first; seconds until it ends (null: never). What is due is found by its
-- index, and so many of it are put in order: a plan that sorts all of it, made while hardly anything was kept, would be kept as well.
select r.vehicle_id, r.kind, r.name, case when r.expires_at <= clock_timestamp() then '' else r.payload end, r.content_type, r.version,
	ceil(extract(epoch from r.expires_at - clock_timestamp()))::bigint
from (select * from retained d where d.published < d.version order by d.changed_at limit $1::int) r
order by r.changed_at, r.vehicle_id, r.kind, r.name
