-- What is read at once was bounded in rows alone, and a row may have a quarter of a megabyte.

-- A vehicle's events after a seq, oldest first, since a moment: at most so many, and none behind the first mebibyte of data. It reads no
-- more than it gives: a statement would add up the sizes of all before it leaves any out.
create function events_page(vehicle text, after bigint, since timestamptz, most integer) returns setof events language plpgsql stable as $$
declare
	e events;
	bytes bigint := 0;
begin
	for e in select * from events v where v.vehicle_id = vehicle and v.seq > after and v.at >= since order by v.seq limit most loop
		return next e;
		bytes := bytes + octet_length(e.data::text);
		exit when bytes >= 1048576;
	end loop;
end $$;

-- How many of a list's items make a page: at most so many, and what fits into a mebibyte of JSON, but one in any case.
create function page_items(sizes integer[], most integer) returns integer language sql immutable parallel safe as $$
	select least(most, greatest(1, count(*)))::integer
	from (select sum(s.size) over (order by s.n) as bytes from unnest(sizes) with ordinality as s(size, n)) i
	where i.bytes <= 1048576 $$;
