-- Makes the partitions of the next days, without waiting for anybody; the names of those that are missing still.
select array_to_string(partitions_make(), ' ')
