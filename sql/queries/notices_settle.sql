-- Vehicles ($1), whose heads are locked, are shown the notices that they should be shown from now on.
select notices_settle($1::text[])
