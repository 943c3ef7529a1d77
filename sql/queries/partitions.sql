-- Makes the partitions of the next days.
select partitions_ensure()
