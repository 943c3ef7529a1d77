-- Drops the partitions of commands and events that are past their retention ($1, $2 milliseconds).
select partitions_drop($1::bigint, $2::bigint)
