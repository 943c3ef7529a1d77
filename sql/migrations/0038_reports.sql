-- What a vehicle reported, several times since it was last written, brought into what it reports: each report by its version and its size, in
-- their order. A report that would make it more than 256 KiB of text is left out, unless it makes it less.
create function reports_merge(reported jsonb, version bigint, patches jsonb[], versions bigint[],
	out merged jsonb, out merged_version bigint, out is_stored boolean, out changes jsonb[], out changes_versions bigint[], out refused integer)
language plpgsql immutable as $$
declare
	next jsonb;
begin
	merged := reported;
	merged_version := version;
	is_stored := false;
	changes := '{}';
	changes_versions := '{}';
	refused := 0;
	for k in 1 .. cardinality(patches) loop
		continue when versions[k] <= merged_version;
		next := json_merge_patch(merged, patches[k]);
		if length(next::text) > 262144 and length(next::text) > length(merged::text) then
			refused := refused + 1;
			continue;
		end if;
		if next <> merged then
			changes := changes || patches[k];
			changes_versions := changes_versions || versions[k];
		end if;
		merged := next;
		merged_version := coalesce(versions[k], merged_version);
		is_stored := true;
	end loop;
end $$;
