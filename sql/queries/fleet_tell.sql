-- Who may have subscribers for a fleet, or for one of its vehicles, whose owners hear of its grants too: every worker that has any
-- for anything. A look in the index for each, however many vehicles the fleet has and however many are watched; each knows for itself.
with recursive w as (
	select min(t.worker) as worker from interest t
	union all
	select (select min(t.worker) from interest t where t.worker > w.worker) from w where w.worker is not null
)
select string_agg(w.worker, ',') from w
