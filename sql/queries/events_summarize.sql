-- So that stats_count.sql reads no more than it counts.
select events_summarize()
