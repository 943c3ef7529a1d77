-- What one caller could make as long as their webhook's backlog is done a part at a time.

-- A webhook whose waiting deliveries begin anew: how far that has come ('': not begun; null: nothing to do), and since when its next part waits.
alter table webhooks add column resume_after text collate "C", add column resume_at timestamptz;
create index webhooks_resuming on webhooks (resume_at, id) where resume_after is not null;

-- As webhook_put, which nodes of the version before call; but what waits in lines, however many they are, is left to webhooks_resume().
create function webhook_write(who text, admin boolean, wanted uuid, is_new boolean, b json, fresh text, most integer, whence text, out outcome text, out body json) language plpgsql as $$
declare
	w webhooks;
	enables constant boolean := coalesce((b->>'enabled')::boolean, true);
begin
	outcome := 'done';
	begin
		if is_new then
			if (select count(*) from webhooks o where o.subject = who) >= most then
				raise exception 'too_many' using errcode = 'KF004';
			end if;
			insert into webhooks (id, subject, is_admin, url, secret) values (wanted, who, admin, b->>'url', fresh) returning * into w;
		else
			perform from webhooks o where o.id = wanted and (admin or o.subject = who) for update;
			if not found then
				raise exception 'no_webhook' using errcode = 'KF004';
			end if;
		end if;
		update webhooks o set
			is_admin = case when o.subject = who then admin else o.is_admin end,
			url = b->>'url', description = coalesce(b->>'description', ''),
			types = array(select distinct k from json_array_elements_text(b->'types') k order by 1),
			enabled_at = case when enables and o.disabled_at is not null then clock_timestamp() else o.enabled_at end,
			disabled_at = case when not enables then coalesce(o.disabled_at, clock_timestamp()) end,
			disabled_reason = case when not enables then coalesce(o.disabled_reason, 'paused') end,
			held_until = case when o.disabled_at is null then o.held_until end,
			resume_after = case when enables and not is_new then '' end,
			resume_at = clock_timestamp(),
			updated_at = clock_timestamp()
		where o.id = wanted returning * into w;
		outcome := webhook_aim(w, b);
		if outcome <> 'done' then
			raise exception '%', outcome using errcode = 'KF004';
		end if;
		body := case when is_new then webhook_json_secret(w) else webhook_json(w) end;
	exception when sqlstate 'KF004' then
		outcome := sqlerrm;
	end;
	insert into audit (who, action, object, allowed, detail)
	values (actor(who, whence), case when is_new then 'webhook.create' else 'webhook.put' end, 'webhook/' || wanted, outcome = 'done',
		(b::jsonb - 'id' - 'url' - 'description')::json); -- a URL may have a secret in it
end $$;

-- The next lines, at most `most`, of a webhook whose waiting deliveries begin anew: true, or false where there is none. Who has
-- waited for longest is first, so that one who changes theirs without end holds up nobody else's. Lines are locked before their webhook, as
-- everybody has it; where that was changed meanwhile, the next look begins again.
create function webhooks_resume(most integer) returns boolean language plpgsql as $$
declare
	w record;
	vehicles text[];
begin
	select o.id, o.resume_after as after into w from webhooks o where o.resume_after is not null order by o.resume_at, o.id limit 1;
	if not found then
		return false;
	end if;
	select array_agg(x.vehicle_id order by x.vehicle_id) into vehicles from (
		select l.vehicle_id from webhook_lines l where l.webhook_id = w.id and l.vehicle_id > w.after and l.due_at is not null
		order by l.vehicle_id limit most for update) x;
	update webhooks o set resume_after = case when cardinality(vehicles) = most then vehicles[most] end, resume_at = clock_timestamp()
	where o.id = w.id and o.resume_after = w.after;
	if found then
		perform webhook_resume(w.id, vehicles);
	end if;
	return true;
end $$;
