-- Messages came from these vehicles ($1); an absence that is being verified is waited out for at least $2 milliseconds from now.
select prove($1::text[], $2::int)
