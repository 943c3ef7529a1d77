-- Ends a running batch ($1) as $2, for $3.
select batch_end($1::uuid, $2::text, $3::json)
