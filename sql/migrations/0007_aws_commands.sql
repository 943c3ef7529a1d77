-- Vehicles that were built for AWS IoT Commands. Read docs/vehicles.md beside it.

-- How Keyfob speaks of commands with a vehicle: the names of commands/codec.c.
alter table vehicles add column protocol text not null default 'keyfob' check (protocol in ('keyfob', 'aws-commands'));

-- Their response topics have no feed in them, so one lease reads them all; it is called as the protocol is.
insert into leases (name) values ('feed/aws-commands');

create or replace function vehicle_json(v vehicles, h vehicle_heads, is_manager boolean, epoch text) returns json language sql stable as $$
	select json_build_object(
		'vehicle_id', v.vehicle_id, 'display_name', v.display_name,
		'msisdn', case when is_manager then v.msisdn end, 'iccid', case when is_manager then v.iccid end,
		'fleet_id', v.fleet_id, 'tags', to_json(v.tags), 'vehicle_protocol', v.protocol,
		'connectivity', jsonb_build_object('state', case when h.reachable then 'connected' else 'disconnected' end,
			'since', rfc3339(h.since), 'verifying', h.verifying, 'reason', h.reason)
			|| case when is_unstable(h) then '{"unstable": true}' else '{}' end::jsonb,
		'state', state_json(v),
		'seq', h.seq, 'epoch', epoch, 'created_at', rfc3339(v.created_at), 'updated_at', rfc3339(v.updated_at)) $$;
