-- Delivery receipts: $1 vehicle, $2 wake-up, $3 delivered, $4 reason; $5 policy. The statuses that were told.
select status from wake_receipt($1::text[], $2::uuid[], $3::bool[], $4::text[], $5::json) as status
