-- Subject $1 ($2: admin) makes webhook $3 ($4: it is new), or changes it; $5 the request, $6 a new one's secret, $7 how many somebody may
-- have, $8 the caller's address.
select outcome, body from webhook_write($1::text, $2::bool, $3::uuid, $4::bool, $5::json, $6::text, $7::int, $8::text)
