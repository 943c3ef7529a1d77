-- Subject $1 ($2: admin) removes webhook $3, from address $4.
select outcome, body from webhook_delete($1::text, $2::bool, $3::uuid, $4::text)
