-- The next targets of a batch ($1) that had no turn, while it runs: those after $2, at most $3.
select vehicle_id from batch_targets where batch_id = $1::uuid and not fed and vehicle_id > $2::text
	and exists (select from batches b where b.id = $1::uuid and b.state = 'running')
order by vehicle_id limit $3::int
