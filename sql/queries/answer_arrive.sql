-- Before answers are applied: what they name counts as sent, whatever is known of its PUBACK.
select count(*) filter (where applied) from command_apply(null, $1::text[], $2::uuid[], array_fill('arrive'::text, array[cardinality($1::text[])]),
	array_fill(null::json, array[cardinality($1::text[])]), array_fill(null::json, array[cardinality($1::text[])]),
	array_fill(null::text, array[cardinality($1::text[])]), array_fill(null::jsonb, array[cardinality($1::text[])]))
