-- Subject $1 ($2: admin) gives webhook $3 the secret $4; the one before it signs for $5 milliseconds more; from address $6.
select outcome, body from webhook_rotate($1::text, $2::bool, $3::uuid, $4::text, $5::bigint * interval '1 millisecond', $6::text)
