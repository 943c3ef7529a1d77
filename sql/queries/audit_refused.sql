-- Writes down who was refused by what their token says: $1 subject, $2 address, $3 action, $4 object ('': none), $5 detail.
insert into audit (who, action, object, allowed, detail)
select actor(i.subject, i.address), i.action, nullif(i.object, ''), false, audit_detail(i.detail::json)
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) as i(subject, address, action, object, detail)
