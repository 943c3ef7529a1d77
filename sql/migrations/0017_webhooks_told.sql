-- Webhooks: that one was disabled is told, whoever dies meanwhile (docs/webhooks.md).

-- It was disabled over this vehicle, for this reason, and the event that says so is yet to be written: with it both go (alert.sql).
alter table webhooks
	add column untold_vehicle text collate "C",
	add column untold_reason text,
	add constraint untold_has_reason check ((untold_vehicle is null) = (untold_reason is null));
create index webhooks_untold on webhooks (id) where untold_vehicle is not null;

-- webhooks_settle(), and in the same transaction what is to be told of it. Nodes of the version before call that one alone, and tell
-- by themselves.
create function webhooks_conclude(webhook_ids uuid[], vehicle_ids text[], claims bigint[], delivery_ids uuid[], whats text[], codes integer[],
	errors text[], waits_ms bigint[], first interval, longest interval, schedule interval)
returns table (webhook_id uuid, subject text, vehicle_id text, reason text) language plpgsql as $$
begin
	for webhook_id, subject, vehicle_id, reason in
		select s.webhook_id, s.subject, s.vehicle_id, s.reason
		from webhooks_settle(webhook_ids, vehicle_ids, claims, delivery_ids, whats, codes, errors, waits_ms, first, longest, schedule) s
	loop
		update webhooks w set untold_vehicle = vehicle_id, untold_reason = reason where w.id = webhook_id;
		return next;
	end loop;
end $$;
