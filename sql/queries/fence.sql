-- Raises KF001 unless this worker ($3) still holds every lease ($1) under its epoch ($2).
select fence($1::text[], $2::bigint[], $3::text)
