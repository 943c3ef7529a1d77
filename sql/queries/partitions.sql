-- Makes the partitions of the next weeks.
select partitions_ensure()
