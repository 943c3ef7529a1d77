-- Counts the events that have come since the last time.
select stats_count(interval '3 seconds')
