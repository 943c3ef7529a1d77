-- $1 subject, $2 admin, $3 unused, $4 fleet ('*': all vehicles, for admin alone), $5 limit, $6 cursor (the last name seen): a page of the
-- notices that were published for it.
with v as (
	select * from overseen($1::text, $2::bool, $4::text) where $3::bool is not null
), shown as (
	select n.name, notice_json(n) as body, row_number() over (order by n.name) as n
	from v join notices n on n.object_kind = 'fleet' and n.object_id = v.fleet_id
	where (n.expires_at is null or n.expires_at > now()) and n.name > coalesce($6::text, '')
	order by n.name limit $5::int + 1
), page as (
	select array_agg(s.name order by s.n) as ids, page_items(array_agg(octet_length(s.body::text) order by s.n), $5::int) as items from shown s
), next as (
	select p.items, case when cardinality(p.ids) > p.items then p.ids[p.items] end as cursor from page p
)
select v.rank, json_build_object('items', coalesce((select json_agg(s.body order by s.n) from shown s where s.n <= next.items), '[]'), 'next_cursor', next.cursor),
	next.cursor
from v, next
