-- Erases a subject ($1), as another ($2, from an address $3) asked.
select subject_erase($1::text, $2::text, $3::text)
