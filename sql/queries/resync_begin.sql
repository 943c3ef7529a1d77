-- Since when (microseconds since 1970) whoever is heard of is named in answer to a question that is asked after this; resync_end.sql
-- compares it with what this same clock said of each.
select (extract(epoch from clock_timestamp()) * 1000000)::bigint
