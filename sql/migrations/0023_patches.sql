-- Patches of thousands of members are merged in one go: a member at a time, each copied what there was so far.

-- RFC 7396.
create or replace function json_merge_patch(target jsonb, patch jsonb) returns jsonb language plpgsql immutable parallel safe as $$
begin
	if jsonb_typeof(patch) <> 'object' then
		return patch;
	end if;
	return (
		select coalesce(jsonb_object_agg(coalesce(p.key, t.key), case
				when p.key is null then t.value
				when jsonb_typeof(p.value) = 'object' then json_merge_patch(t.value, p.value)
				else p.value end), '{}')
		from jsonb_each(case when jsonb_typeof(target) = 'object' then target else '{}' end) t
		full join jsonb_each(patch) p on p.key = t.key
		where p.key is null or jsonb_typeof(p.value) <> 'null');
end $$;

-- What is desired and not reported; each level is looked at once.
create or replace function state_delta(desired jsonb, reported jsonb) returns jsonb language plpgsql immutable parallel safe as $$
begin
	return (
		select coalesce(jsonb_object_agg(m.key, m.value) filter (where not m.goes_deeper or m.value <> '{}'), '{}')
		from (
			select d.key, goes_deeper, case when goes_deeper then state_delta(d.value, r.value) else d.value end as value
			from jsonb_each(desired) d
			left join jsonb_each(case when jsonb_typeof(reported) = 'object' then reported else '{}' end) r on r.key = d.key
			cross join lateral (select coalesce(jsonb_typeof(d.value) = 'object' and jsonb_typeof(r.value) = 'object', false)) g(goes_deeper)
			where r.value is distinct from d.value
			offset 0) m);
end $$;
