-- $1 subject, $2 admin, $3 unused, $4 webhook: it, if it is the subject's; no cursor.
select 1, webhook_json(w), null::text
from webhooks w where w.id = $4::uuid and ($2::bool or w.subject = $1::text) and $3::bool is not null
