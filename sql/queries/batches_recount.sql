-- Counts what is on its way of one batch that is over, and of which more than so many ($1) may be.
select batches_recount($1::bigint)
