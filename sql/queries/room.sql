-- Writes what commands and their events take, and more of it than any page has room for, in today's partitions: whether the database
-- writes. undo.sql takes it back; no vehicle has that id.
with told as (
	insert into events (vehicle_id, seq, at, type, data)
	select '', n, clock_timestamp(), 'room', json_build_object('filler', repeat('x', 1500)) from generate_series(1, 40) n)
insert into commands (vehicle_id, id, name, params, issued_by, wake, redelivery, catalog, accepted_seq, timeout_seconds, created_at, expires_at, updated_at, due_at)
select '', uuid7_floor(now + n * interval '1 millisecond'), 'room', json_build_object('filler', repeat('x', 1500)), '', false, 'never', '{}', n, 1, now, now, now, now
from generate_series(1, 40) n, clock_timestamp() now
