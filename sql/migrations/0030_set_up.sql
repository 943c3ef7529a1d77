-- What a transaction costs before its first command: most of it was setting statements up. What is needed rarely is a function in PL/pgSQL, whose
-- plan need not be set up by a statement that does not call it, and which goes by its key whenever that was made.

-- One command to accept, as accept.sql is handed it. (A later version that needs another field makes another type.)
create type accept_draft as (
	n              integer,                        -- its number among those of the statement
	id             uuid,
	vehicle_id     text collate "C",
	subject        text,
	admin          boolean,
	needs          integer,                        -- the rank that the catalogue demands
	key            text,
	fingerprint    text,
	batch_id       uuid,
	wake           boolean,
	ttl            integer,
	timeout        integer,
	feed           text,                           -- on which its answers will come
	publisher      text,                           -- the worker that can publish it; null: none can
	address        text,
	name           text,
	params         json,
	sealed_params  text,
	redelivery     text,
	catalog        json,
	traceparent    text,
	tracestate     text
);

-- Whose an idempotency key is.
create type key_owner as (
	vehicle_id  text,
	command_id  uuid,
	fingerprint text,
	is_batchs   boolean,                           -- a batch's, of this day
	sent_at     timestamptz                        -- when the command of this day was accepted; null: there is none
);
create function key_owner(who text, what text) returns key_owner language plpgsql stable as $$
declare
	o key_owner;
begin
	select k.vehicle_id, k.command_id, k.fingerprint, k.batch_id is not null and k.created_at > now() - interval '24 hours',
		case when k.created_at > now() - interval '24 hours' then (
			select c.created_at from commands c where c.vehicle_id = k.vehicle_id and c.id = k.command_id) end
	into o from idempotency k where k.subject = who and k.key = what;
	return o;
end $$;

-- A key whose command never came about, or whose day is over, belongs to the new command.
create function key_take(d accept_draft) returns void language plpgsql as $$
begin
	update idempotency k set command_id = d.id, batch_id = null, vehicle_id = d.vehicle_id, fingerprint = d.fingerprint, created_at = now()
	where k.subject = d.subject and k.key = d.key;
end $$;

create function batch_had_turn(batch uuid, vehicle text) returns boolean language plpgsql stable as $$
begin
	return exists (select from batch_targets t where t.batch_id = batch and t.vehicle_id = vehicle and t.fed);
end $$;

create function command_told(vehicle text, command uuid) returns text language plpgsql stable as $$
begin
	return (select command_json(c)::text from commands c where c.vehicle_id = vehicle and c.id = command);
end $$;

-- A command that was accepted with the wake-up that is under way in its timeline.
create function absence_join(vehicle text, seq bigint) returns void language plpgsql as $$
begin
	update absences a set seen_seq = seq where a.vehicle_id = vehicle;
end $$;
