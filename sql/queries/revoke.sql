-- Cancels what subjects ($2) have not sent yet and may not send any more, at most one of a vehicle ($1), whose heads are locked.
select commands_revoke($1::text[], $2::text[], array_fill(null::integer, array[cardinality($1::text[])]))
