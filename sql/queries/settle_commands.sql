-- Of the batch's vehicles ($1, with their feeds, $2): what waits for who is away, and the claims of this worker ($3; whether it can
-- publish, $4), which are to be published. Of most vehicles nothing is left to do, and nothing need be set up for it. $5, $6: ids of the last eight
-- days and the next, so that no partition but those between them is set up. $7: nothing was written of the vehicle
-- that would have to be settled, should it be away (batch.h).
select s.vehicle_id, s.id, s.name, s.params, s.sealed_params, s.issued_at, s.expires_at, s.attempt, s.expires_us, s.traceparent, s.session, s.protocol, s.number,
	case when s.traceparent is not null then (select c.tracestate from commands c where c.vehicle_id = s.vehicle_id and c.id = s.id) end as tracestate
from (
	select array_agg(h.vehicle_id) as vehicles, array_agg(i.feed) as feeds
	from unnest($1::text[], $2::text[], $7::bool[]) as i(vehicle_id, feed, is_settled) join vehicle_heads h on h.vehicle_id = i.vehicle_id
	where case when h.reachable then h.claim_id is null and (
			select true from commands c where c.vehicle_id = h.vehicle_id and c.id >= $5::uuid and c.id < $6::uuid
				and c.status in ('accepted', 'waiting', 'sent') order by c.accepted_seq limit 1)
		else not i.is_settled and (select true from commands c where c.vehicle_id = h.vehicle_id and c.id >= $5::uuid and c.id < $6::uuid
				and c.status in ('accepted', 'waiting', 'sent') and (c.status = 'accepted' and c.flight in ('none', 'out')
				or c.status = 'sent' and c.flight = 'out' and c.redelivery <> 'never' and c.expires_at > clock_timestamp())
				order by c.accepted_seq limit 1)
			or h.claim_id is null and (select true from absences a where a.vehicle_id = h.vehicle_id and a.phase = 'probe') end
) c cross join lateral settle_claims(c.vehicles, c.feeds, $3::text, $4::bool, $5::uuid) s
where c.vehicles is not null
