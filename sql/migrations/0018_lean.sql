-- What a command costs, once more: JSON is written as text and read once. json_build_object() looks up the type of each argument at each
-- call, which for one command cost more than all its indexes.

-- One item of a timeline.
create function step_text(what text, detail text, at text) returns text language sql immutable parallel safe as
$$ select '{"time": "' || at || '", "step": "' || what || '", "detail": ' || detail || '}' $$;
create or replace function step(what text, detail jsonb default '{}', at timestamptz default clock_timestamp()) returns jsonb language sql stable as
$$ select ('[' || step_text(what, detail::text, rfc3339(at)) || ']')::jsonb $$;

-- A command as the outside sees it, without its timeline. It begins with its id, and what is sealed or traced shows only when it is there. Each
-- argument is used once, so that it is written out in place.
create function command_text(id uuid, vehicle_id text, name text, params text, status command_status, reason text, result text, late boolean,
	may_have_executed boolean, issued_by text, attempts integer, timeout_seconds integer, created_at text, expires_at text, updated_at text,
	sent_at text, finished_at text, sealed_params text, sealed_result text, traceparent text) returns text language sql stable as $$
	select '{"id" : "' || id || '", "vehicle_id" : ' || to_json(vehicle_id) || ', "name" : ' || to_json(name)
		|| ', "params" : ' || coalesce(params, 'null') || ', "status" : "' || status
		|| '", "reason" : ' || coalesce(reason, 'null') || ', "result" : ' || coalesce(result, 'null')
		|| ', "late" : ' || late || ', "may_have_executed" : ' || may_have_executed
		|| ', "issued_by" : ' || to_json(issued_by) || ', "attempts" : ' || attempts || ', "timeout_seconds" : ' || timeout_seconds
		|| ', "created_at" : "' || created_at || '", "expires_at" : "' || expires_at || '", "updated_at" : "' || updated_at
		|| '", "sent_at" : ' || coalesce('"' || sent_at || '"', 'null') || ', "finished_at" : ' || coalesce('"' || finished_at || '"', 'null')
		|| coalesce(', "sealed_params" : ' || to_json(sealed_params), '') || coalesce(', "sealed_result" : ' || to_json(sealed_result), '')
		|| coalesce(', "traceparent" : ' || to_json(traceparent), '') || '}' $$;
create or replace function command_json(c commands) returns json language sql stable as $$
	select command_text(c.id, c.vehicle_id, c.name, c.params::text, c.status, c.reason::text, c.result::text, c.late,
		c.flight <> 'none' and c.status in ('accepted', 'waiting', 'sent', 'in_progress', 'timed_out'),
		c.issued_by, c.attempts, c.timeout_seconds, rfc3339(c.created_at), rfc3339(c.expires_at), rfc3339(c.updated_at),
		rfc3339(c.sent_at), rfc3339(c.finished_at), c.sealed_params, c.sealed_result, c.traceparent)::json $$;
-- As it was sent, before its answer.
create or replace function command_json_sent(c commands) returns json language sql stable as $$
	select command_text(c.id, c.vehicle_id, c.name, c.params::text, 'sent', null, null, c.late, true,
		c.issued_by, c.attempts, c.timeout_seconds, rfc3339(c.created_at), rfc3339(c.expires_at), rfc3339(c.updated_at),
		rfc3339(c.sent_at), null, c.sealed_params, null, c.traceparent)::json $$;
-- command_json_accepted() and what it is made of stay for nodes of the version before.
