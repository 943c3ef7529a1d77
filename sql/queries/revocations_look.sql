-- What was not sent yet by subjects whose rights ended and who may not send it any more: vehicle and subject, at most $1 of each
-- revocation. What is over is removed.
select l.vehicle_id, l.subject from revocations_look($1::int) l
