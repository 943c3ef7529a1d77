-- The next mark: whatever was acknowledged until now comes before it.
update meta set retained_mark = retained_mark + 1 returning retained_mark
