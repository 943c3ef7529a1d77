-- What providers said: $1 vehicle, $2 wake-up, $3 verdict, $4 message id, $5 reason; $6 policy. The statuses that were told.
select status from wake_outcome($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::json) as status
