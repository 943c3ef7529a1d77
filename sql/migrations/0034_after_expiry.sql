-- A result that is dated after its command's expiry is known as such.

-- Of an answer that has just ended its command: whether it was read after the command had expired, and no word of the vehicle before. What was
-- begun in time may take its time; this may have been begun late, or was held up on its way. Its step says so.
create function answer_note_overdue(vehicle text, command uuid) returns boolean language plpgsql as $$
begin
	update commands c set timeline = jsonb_set(c.timeline, '{-1,detail,after_expiry}', 'true')
	where c.vehicle_id = vehicle and c.id = command and (c.timeline -> -1 ->> 'time') collate "C" > rfc3339(c.expires_at)
		and not jsonb_path_exists(c.timeline, '$[*] ? (@.step == "answer" && @.time <= $end)', jsonb_build_object('end', rfc3339(c.expires_at)));
	return found;
end $$;
