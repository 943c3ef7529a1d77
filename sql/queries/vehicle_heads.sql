-- Heads for vehicles that are about to be registered ($1 vehicle, $2 subject, $3 admin, sorted by vehicle), where the asker
-- could register any: a refused stranger leaves no row behind.
insert into vehicle_heads (vehicle_id)
select i.vehicle_id from unnest($1::text[], $2::text[], $3::bool[]) as i(vehicle_id, subject, admin)
where i.admin or exists (select from grants g where g.subject = i.subject and g.object_kind = 'fleet' and g.role = 'manager'
                         and (g.expires_at is null or g.expires_at > now()))
order by i.vehicle_id
on conflict do nothing
