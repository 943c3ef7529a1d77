-- Ends its transaction with an error (22012), so that what was written before it never was.
select 1 / 0
