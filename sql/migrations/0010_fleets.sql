-- Looking for vehicles by what they report, and by one of several values. Read docs/fleets.md beside it.

-- A report changes an indexed column from now on, so its row moves and each index of the table hears of it. What goes into this one is
-- gathered first: without that a report would cost twice as much again. The list is short, for a search reads through it
-- and whoever fills it empties it (docs/fleets.md has the prices).
create index vehicles_reported on vehicles using gin (reported jsonb_path_ops) with (gin_pending_list_limit = 1024) where retired_at is null;

-- Where in the reported state it is, and what it has to be there, as SQL/JSON has it: through a list any of its items will do.
-- `value` is {"is", "value"}; "begins" with nothing: whatever it is, if only it is there.
create function state_path(path jsonb, value jsonb) returns jsonpath language sql immutable as $$
	select ((select '$' || string_agg('.' || m.name::text, '' order by m.n) from jsonb_array_elements(path) with ordinality m(name, n))
		|| case when value->>'is' = 'begins' and value->>'value' = '' then ''
			else format(' ? (@ %s %s)', o.operator, value->'value') end)::jsonpath
	from (select case value->>'is' when '=' then '==' when 'begins' then 'starts with' when '<' then '<' when '<=' then '<='
		when '>' then '>' when '>=' then '>=' end as operator) o $$;

-- What one of a term's values asks of a vehicle v with its head h. Null: it is none that is known.
create function filter_value_sql(term jsonb, value jsonb) returns text language sql immutable as $$
	select case term->>'key'
		when 'reachability' then case value->>'value' when 'connected' then 'h.reachable' else 'not h.reachable' end
		when 'unstable' then case value->>'value' when 'true' then 'h.unstable_until is not null' else 'h.unstable_until is null' end
		when 'tag' then format('v.tags @> array[%L]', value->>'value')
		when 'name' then format('lower(v.display_name) collate "C" %s lower(%L)', o.operator, value->>'value')
		when 'fleet' then format('v.fleet_id %s %L', o.operator, value->>'value')
		when 'vehicle' then format('v.vehicle_id %s %L', o.operator, value->>'value')
		when 'state' then format('v.reported @? %L', state_path(term->'path', value)) end
	from (select case value->>'is' when '=' then '=' when 'begins' then '^@' end as operator) o $$;

-- What a filter asks of a vehicle v with its head h, as conditions that begin with "and"; its terms are {"key", "path" of a state,
-- "not", "any": [{"is", "value"}, …]}, as gateway/operations/vehicle_filter.c reads them. What is no such term finds nothing: a
-- node of another version must not send to a whole fleet what was meant for a part of it.
create or replace function filter_sql(filter jsonb) returns text language sql stable as $$
	select case when bool_and(c.condition is not null) then string_agg(format(case when (c.term->'not')::bool then ' and (%s) is not true' else ' and (%s)' end,
		c.condition), '') when count(*) = 0 then '' else ' and false' end
	from (select t.term, (select case when bool_and(filter_value_sql(t.term, v) is not null) then string_agg(filter_value_sql(t.term, v), ' or ') end
		from jsonb_array_elements(t.term->'any') v) as condition from jsonb_array_elements(filter) t(term)) c $$;
