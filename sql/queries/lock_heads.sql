-- Locks the heads of all vehicles of a batch, ascending: the first statement of every writing transaction.
select h.vehicle_id
from unnest($1::text[]) as i(vehicle_id)
join vehicle_heads h on h.vehicle_id = i.vehicle_id
order by h.vehicle_id collate "C"
for update of h
