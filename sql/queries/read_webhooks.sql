-- $1 subject, $2 admin, $3 unused, $4 limit, $5 cursor (the last id seen; null: from the newest): a page of the subject's webhooks,
-- for admin of everybody's, newest first.
with shown as materialized (
	select w, row_number() over (order by w.id desc) as n
	from webhooks w
	where ($2::bool or w.subject = $1::text) and w.id < coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') and $3::bool is not null
	order by w.id desc limit $4::int + 1
), next as (
	select case when count(*) > $4::int then (array_agg((w).id order by n))[$4::int]::text end as cursor from shown
)
select 1, json_build_object('items', coalesce((select json_agg(webhook_json(s.w) order by s.n) from shown s where s.n <= $4::int), '[]'),
	'next_cursor', next.cursor), next.cursor
from next
