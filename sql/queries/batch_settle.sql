-- Settles the targets of a batch ($1) that have come to their end: what the batch is to become (null: it goes on), how many failed, and
-- how many were settled.
select becomes, failures, newly from batch_settle($1::uuid)
