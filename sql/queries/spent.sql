-- How long the transaction has taken so far, microseconds.
select (extract(epoch from clock_timestamp() - now()) * 1000000)::bigint
