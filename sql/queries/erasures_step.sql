-- Takes who was erased out of what some vehicles ($1, at most) have of them: whether there is more to do at once, and why it failed.
select more, failed from erasures_step($1::int)
