-- Takes the next step of absences that are due ($1 vehicle, $2 id of the wake-up that it may make, $3 policy). A row for each
-- SMS whose slot is spent by it, and for each refusal.
select id, refused, provider, attempt, msisdn, iccid, validity_seconds, expires_us from wake_step($1::text[], $2::uuid[], $3::json)
