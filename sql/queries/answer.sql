-- Applies vehicles' answers, at most one of a vehicle. A row for each, in their order: its number, applied, the command's status
-- (null: unknown), and whether it repeats the answer that was kept.
select a.n, a.applied, a.status, not a.applied and answer_is_kept(($1::text[])[a.n], ($2::uuid[])[a.n], ($3::text[])[a.n], ($4::json[])[a.n],
	($5::json[])[a.n], ($6::text[])[a.n]) as repeated
from command_apply(null, $1::text[], $2::uuid[], $3::text[], $4::json[], $5::json[], $6::text[], $7::jsonb[]) a
