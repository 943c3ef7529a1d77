-- Makes the partitions of the next days, and drops those of commands and events that are past their retention ($1, $2 milliseconds).
select partitions_ensure(), partitions_drop($1::bigint, $2::bigint)
