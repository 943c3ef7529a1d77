-- Subject $1 ($2: admin) has webhook $3 send delivery $4 once more, from address $5.
select outcome, body from webhook_redeliver($1::text, $2::bool, $3::uuid, $4::uuid, $5::text)
