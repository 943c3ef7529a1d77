-- What a subscriber ($2, admin $3) of a fleet ($1; '*': all vehicles, admin alone) begins with: its rank (0: not its to see), the
-- epoch, how many vehicles, how long its grant lasts in milliseconds (null: for ever), and how often grants were changed. $4:
-- database.synchronous.
select case when $3::bool then 3 else grant_rank($2::text, null, f.fleet_id) end as rank, history_epoch($4::bool),
	(select count(*) from vehicles v where v.retired_at is null and (v.fleet_id = f.fleet_id or f.fleet_id = '*')),
	case when not $3::bool then (
		select (extract(epoch from g.expires_at - now()) * 1000)::bigint from grants g
		where g.subject = $2::text and g.object_kind = 'fleet' and g.object_id = f.fleet_id) end,
	f.access_version
from (select fleet_id, access_version from fleets union all select '*', 0 where $3::bool) f
where f.fleet_id = $1::text
