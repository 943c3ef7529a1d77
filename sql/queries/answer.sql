-- Applies vehicles' answers, at most one of a vehicle. A row for each, in their order: its number, applied, the command's status
-- (null: unknown), whether it repeats the answer that was kept, and whether it is a result from after the command's expiry. (No command expires
-- within the first second of its life, in which most are answered: those are not looked at again.)
select a.n, a.applied, a.status, not a.applied and answer_is_kept(($1::text[])[a.n], ($2::uuid[])[a.n], ($3::text[])[a.n], ($4::json[])[a.n],
	($5::json[])[a.n], ($6::text[])[a.n]) as repeated,
	case when a.applied and a.status in ('succeeded', 'failed') and ($2::uuid[])[a.n] < (select uuid7_floor(clock_timestamp() - interval '1 second'))
		then answer_note_overdue(($1::text[])[a.n], ($2::uuid[])[a.n]) else false end as after_expiry
from command_apply(null, $1::text[], $2::uuid[], $3::text[], $4::json[], $5::json[], $6::text[], $7::jsonb[]) a
