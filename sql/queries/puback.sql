-- What became of published requests, at most one of a vehicle: 'puback', 'nobody' (0x10), 'release' (certainly not
-- handed over) or 'lose' (nobody knows). Only the claim that the publish was made under counts, by its number; where the answer was
-- faster, the timeline alone learns of the PUBACK. What the timeline has was recorded, and its worker did not hear so: it is not told
-- again. (A plain join could be planned over all commands of the vehicle.)
with i as materialized (
	select * from unnest($1::text[], $2::uuid[], $3::int[], $4::text[], $5::jsonb[], $6::text[], $7::int[]) with ordinality
		as i(vehicle_id, id, attempt, verdict, steps, worker, number, n)
), judged as materialized (
	select i.*, case
		when i.steps->0->>'step' = 'published' and c.timeline @> jsonb_build_array(i.steps->0) then null
		when h.claim_id = i.id and h.claim_worker = i.worker and h.claim_attempt = i.attempt and h.claims = i.number then
			case when i.verdict <> 'nobody' then i.verdict
			     when h.reachable and audience(h) is distinct from h.claim_session then 'release'
			     else 'disprove' end
		when i.verdict = 'puback' and c.flight = 'out' and c.status not in ('accepted', 'waiting') then 'late' end as event
	from i join vehicle_heads h on h.vehicle_id = i.vehicle_id
		cross join lateral (select c.status, c.flight, c.timeline from commands c where c.vehicle_id = i.vehicle_id and c.id = i.id offset 0) c
	order by i.vehicle_id
), told as materialized (
	select * from judged where event <> 'late'
), late as (
	update commands c set timeline = c.timeline || j.steps from judged j where j.event = 'late' and c.vehicle_id = j.vehicle_id and c.id = j.id
)
select count(*) filter (where a.applied) from command_apply(null,
	array(select vehicle_id from told), array(select id from told), array(select event from told),
	array(select null::json from told), array(select null::json from told), array(select null::text from told),
	array(select steps from told)) a
