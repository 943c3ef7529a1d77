-- The broker may know nobody any more: who is shut out is told anew. In the order in which a batch locks them.
update blocks b set published = 0
from (select o.vehicle_id from blocks o where o.blocked and o.published > 0 order by o.vehicle_id for no key update) o
where b.vehicle_id = o.vehicle_id
