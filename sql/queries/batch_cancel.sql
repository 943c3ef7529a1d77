-- Subject $1 ($2: admin) ends batch $3, from address $4.
select outcome, body from batch_cancel($1::text, $2::bool, $3::uuid, $4::text)
