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
