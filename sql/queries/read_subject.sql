-- $1 subject who asks, $2 admin, $3 unused, $4 subject, $5 limit, $6 cursor (the last place seen), $7 address: a page of what is kept of the
-- subject, for admin alone, which is written down, by the person's id where there is one (none is made by looking): grants, from where it asked, what it sent to vehicles and fleets, the keys of its requests, what the audit
-- table has of it, its webhooks, and the notices that it published.
with found as (
	(select '1/' || g.object_kind || '/' || g.object_id as place,
		json_build_object('kind', 'grant', g.object_kind || '_id', g.object_id) as head, grant_json(g) as body
	from grants g where g.subject = $4::text)
	union all
	(select '2/' || a.id, json_build_object('kind', 'actor'),
		json_build_object('id', a.id, 'address', nullif(a.address, ''), 'since', rfc3339(a.since))
	from actors a where a.subject = $4::text)
	union all
	(select '3/' || k.key, json_build_object('kind', 'idempotency_key'),
		json_build_object('key', k.key, 'vehicle_id', k.vehicle_id, 'command_id', k.command_id, 'created_at', rfc3339(k.created_at))
	from idempotency k where k.subject = $4::text)
	union all
	(select '4/' || c.id, json_build_object('kind', 'command'), command_json(c) from commands c
	where c.issued_by = $4::text and '4/' || c.id > coalesce($6::text, '') collate "C" order by c.id limit $5::int + 1)
	union all
	(select '5/' || lpad(a.id::text, 19, '0'), json_build_object('kind', 'audit'),
		json_build_object('id', a.id, 'time', rfc3339(a.at), 'who', a.who, 'address', nullif(w.address, ''), 'action', a.action,
			'object', a.object, 'allowed', a.allowed, 'detail', audit_told(a.detail))
	from actors w join audit a on a.who = w.id
	where w.subject = $4::text and '5/' || lpad(a.id::text, 19, '0') > coalesce($6::text, '') collate "C" order by a.id limit $5::int + 1)
	union all
	(select '6/' || b.id, json_build_object('kind', 'batch'), batch_json(b) from batches b
	where b.issued_by = $4::text and '6/' || b.id > coalesce($6::text, '') collate "C" order by b.id limit $5::int + 1)
	union all
	(select '7/' || w.id, json_build_object('kind', 'webhook'), webhook_json(w) from webhooks w where w.subject = $4::text)
	union all
	(select '8/' || n.object_kind || '/' || n.object_id || '/' || n.name, json_build_object('kind', 'notice', n.object_kind || '_id', n.object_id), notice_json(n)
	from notices n where n.published_by = $4::text)
), shown as (
	select f.place, f.head::jsonb || jsonb_build_object('data', f.body) as item from found f
	where f.place > coalesce($6::text, '') collate "C" order by f.place collate "C" limit $5::int + 1
), page as (
	select array_agg(s.place order by s.place collate "C") as ids, page_items(array_agg(octet_length(s.item::text) order by s.place collate "C"), $5::int) as items from shown s
), next as (
	select p.items, case when cardinality(p.ids) > p.items then p.ids[p.items] end as cursor from page p
), noted as (
	insert into audit (who, action, allowed, detail)
	select actor($1::text, $7::text), 'subject.export', true, json_build_object('whom', (select a.id from actors a where a.subject = $4::text order by a.since limit 1))
	where $2::bool
)
select case when $2::bool and $1::text is not null and $3::bool is not null then 3 else 0 end,
	json_build_object('items', coalesce((select json_agg(s.item order by s.place collate "C") from (select * from shown order by place collate "C" limit next.items) s), '[]'),
		'next_cursor', next.cursor), next.cursor
from next
