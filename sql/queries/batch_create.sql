-- Begins a batch for subject $1 ($2: admin) under the id $3; $4 the request, $5 its idempotency key and $6 fingerprint, or null; $7 the
-- caller's address.
select outcome, body from batch_create($1::text, $2::bool, $3::uuid, $4::json, $5::text, $6::text, $7::text)
