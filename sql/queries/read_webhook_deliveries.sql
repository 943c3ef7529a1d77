-- $1 subject, $2 admin, $3 unused, $4 webhook, $5 limit, $6 cursor (the last id seen; null: from the newest), $7 status or null: a page of
-- its deliveries, newest first.
with mine as (
	select w.id from webhooks w where w.id = $4::uuid and ($2::bool or w.subject = $1::text) and $3::bool is not null
), shown as materialized (
	select d, row_number() over (order by d.id desc) as n
	from mine m join webhook_deliveries d on d.webhook_id = m.id
	where d.id < coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') and ($7::text is null or d.status = $7::text)
	order by d.id desc limit $5::int + 1
), next as (
	select case when count(*) > $5::int then (array_agg((d).id order by n))[$5::int]::text end as cursor from shown
)
select 1, json_build_object('items', coalesce((select json_agg(webhook_delivery_json(s.d) order by s.n) from shown s where s.n <= $5::int), '[]'),
	'next_cursor', next.cursor), next.cursor
from mine, next
