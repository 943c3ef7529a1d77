-- Before the commands of the batch's vehicles ($1) are claimed: absences begin and end. $2: this installation has providers,
-- $3: the broker says when nobody is subscribed, $4: milliseconds since it was lost, $5: since it came back, $6: that a fleet may need
-- to. How many wake-ups were answered, whether one is due now, and how many were refused.
select answered, due, refused from wake_settle($1::text[], $2::bool, $3::bool, $4::bigint * interval '1 millisecond', $5::bigint * interval '1 millisecond',
	$6::bigint * interval '1 millisecond')
