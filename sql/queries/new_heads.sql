-- Heads for a batch's vehicles ($1) that may not have one: those that the broker announces before they are registered ($2 null), and those
-- that somebody ($2) is about to register who could register any: a refused stranger leaves no row behind. Ascending as lock_heads.sql,
-- which follows: what another transaction inserts at this moment is waited for, and then locked with all others.
insert into vehicle_heads (vehicle_id)
select i.vehicle_id from unnest($1::text[], $2::text[]) as i(vehicle_id, subject)
where i.subject is null or exists (select from grants g where g.subject = i.subject and g.object_kind = 'fleet' and g.role = 'manager'
                                   and (g.expires_at is null or g.expires_at > now()))
order by i.vehicle_id collate "C"
on conflict do nothing
