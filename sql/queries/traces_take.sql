-- The next journeys that are over and are to be recorded, at most some $1: the command as its last event told it, and its timeline.
select command, timeline from traces_take($1::int, interval '3 seconds')
